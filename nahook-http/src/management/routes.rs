//! Operations, each one route and one entry of the OpenAPI document at once.

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::routing::{MethodFilter, on};
use nahook_core::id::WorkspaceId;
use serde_json::Value;
use utoipa::ToSchema;

use super::ManagementApi;
use super::answer::Answer;
use super::body::{BodyArgs, NoBody};
use super::call::{Call, answer};
use super::path::{self, PathArgs};
use super::query::QueryArgs;
use crate::ApiError;
use crate::openapi::{Api, Components, Operation};
use crate::problem::Problem;

/// The routes below one base.
pub(super) struct Routes {
    base: &'static str,
    router: Router<ManagementApi>,
    operations: Vec<Operation>,
}

/// Schema of a body, if there is one.
pub(super) trait BodySchema {
    fn schema(components: &mut Components) -> Option<Value>;
}

impl BodySchema for NoBody {
    fn schema(_: &mut Components) -> Option<Value> {
        None
    }
}

impl<T: ToSchema> BodySchema for T {
    fn schema(components: &mut Components) -> Option<Value> {
        Some(components.reference::<T>())
    }
}

/// Description of a route for people.
pub(super) struct About {
    method: MethodFilter,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    tag: &'static str,
    problems: &'static [Problem],
}

impl About {
    /// The operation `id`, by `GET` of that path below the base.
    pub(super) const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(MethodFilter::GET, path, id, summary)
    }

    /// The operation `id`, by `POST`.
    pub(super) const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(MethodFilter::POST, path, id, summary)
    }

    /// The operation `id`, by `PATCH`.
    pub(super) const fn patch(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(MethodFilter::PATCH, path, id, summary)
    }

    /// The operation `id`, by `PUT`.
    pub(super) const fn put(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(MethodFilter::PUT, path, id, summary)
    }

    /// The operation `id`, by `DELETE`.
    pub(super) const fn delete(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self::new(MethodFilter::DELETE, path, id, summary)
    }

    /// Adds a longer description.
    pub(super) const fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Adds errors to those that every operation may answer with.
    pub(super) const fn refuses(mut self, problems: &'static [Problem]) -> Self {
        self.problems = problems;
        self
    }

    /// For operators: the published clients do not know it.
    pub(super) const fn for_operators(mut self) -> Self {
        self.tag = "Operations";
        self
    }

    const fn new(
        method: MethodFilter,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            description: "",
            tag: "Management",
            problems: &[],
        }
    }
}

impl Routes {
    pub(super) fn new(base: &'static str) -> Self {
        Self {
            base,
            router: Router::new(),
            operations: Vec::new(),
        }
    }

    /// Adds an operation.
    pub(super) fn add<P, Q, B, A, F, O>(&mut self, about: &About, operation: O)
    where
        P: PathArgs + 'static,
        Q: QueryArgs + 'static,
        B: BodyArgs + BodySchema + 'static,
        A: Answer + 'static,
        F: Future<Output = Result<A, ApiError>> + Send + 'static,
        O: Fn(Call<P, Q, B>) -> F + Copy + Send + Sync + 'static,
    {
        let path = format!("{}{}", self.base, about.path);
        let id = about.id;
        let route = move |State(api): State<ManagementApi>,
                          path: Result<RawPathParams, RawPathParamsRejection>,
                          request: Request| {
            answer::<P, Q, B, A, F, O>(api, id, path, request, operation)
        };
        let router = std::mem::take(&mut self.router);
        self.router = router.route(&path, on(about.method, route));

        let mut components = Components::default();
        let mut parameters = vec![path::parameter::<WorkspaceId>()];
        parameters.extend(P::parameters());
        parameters.extend(Q::parameters());
        let mut problems = vec![Problem::Unauthorized, Problem::Disabled, Problem::Missing];
        if about.method != MethodFilter::GET {
            problems.push(Problem::ReadOnly);
        }
        if B::IS_READ {
            problems.extend([Problem::Invalid, Problem::TooLarge, Problem::TooSlow]);
        }
        if !Q::parameters().is_empty() {
            problems.push(Problem::Invalid);
        }
        problems.extend([Problem::RateLimited, Problem::Unavailable]);
        problems.extend_from_slice(about.problems);
        self.operations.push(Operation {
            api: Api::Management,
            method: method_name(about.method),
            path,
            id,
            summary: about.summary,
            description: about.description,
            tag: about.tag,
            parameters,
            body: B::schema(&mut components),
            answers: vec![(A::STATUS.as_u16(), A::schema(&mut components))],
            problems,
            components,
        });
    }

    pub(super) fn into_router(self) -> Router<ManagementApi> {
        self.router
    }

    pub(super) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }
}

fn method_name(method: MethodFilter) -> &'static str {
    match method {
        MethodFilter::DELETE => "delete",
        MethodFilter::PATCH => "patch",
        MethodFilter::POST => "post",
        MethodFilter::PUT => "put",
        _ => "get",
    }
}
