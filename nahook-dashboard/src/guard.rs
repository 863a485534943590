//! The layer before every page: finds the visitor, checks forms, and adds the headers that browsers hold pages to.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nahook_control::Actor;
use nahook_http::{FormBody, RequestContext};

use crate::access::{Reach, Visitor};
use crate::brand::Brand;
use crate::error::PageError;
use crate::form::{Fields, TOKEN_FIELD};
use crate::page;
use crate::request::{base_of, check_origin, forged};
use crate::session;
use crate::sign_in;
use crate::site::{Audience, Site};
use crate::view::View;

/// Largest form in bytes: a payload, and what goes with it.
const FORM_LEN_MAX: usize = 1024 * 1024;

/// A page's error on its way through the layer, which makes a page of it.
#[derive(Clone)]
struct Failed(Arc<PageError>);

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Failed(Arc::new(self)));
        response
    }
}

/// Adds the headers that every answer has, and shows errors as pages.
pub(crate) async fn dress(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let base = base_of(request.extensions(), request.uri().path());
    let mut response = next.run(request).await;
    let extensions = response.extensions_mut();
    if let Some(Failed(error)) = extensions.remove::<Failed>() {
        let brand = extensions.remove::<Arc<Brand>>();
        let brand = brand.as_deref().unwrap_or(&site.settings.brand);
        response = page::error(&site, brand, &base, &error);
        if let Some(seconds) = error.retry_after {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
    }
    let headers = response.headers_mut();
    // Assets say themselves how long they may be kept.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let policy = HeaderValue::try_from(site.content_security_policy());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Forms are checked by their origin, which `no-referrer` would hide.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = policy {
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(policy);
    }
    response
}

/// Lets visitors through who have signed in, and forms that come from our own pages.
pub(crate) async fn admit(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let base = base_of(&head.extensions, head.uri.path());
    match view(&site, &head, body, &base).await {
        Ok((view, cookie, _form)) => {
            let brand = Arc::clone(&view.brand);
            head.extensions.insert(view);
            // What the form takes of the workspace is held until it was acted on.
            let mut response = next.run(Request::from_parts(head, Body::empty())).await;
            response.extensions_mut().insert(brand);
            if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(response) => *response,
    }
}

/// The view for the handler, a cookie if one is to be set, and the form.
type Admitted = (View, Option<String>, Option<FormBody>);

/// Makes what the handler needs.
async fn view(
    site: &Arc<Site>,
    head: &Parts,
    body: Body,
    base: &Arc<str>,
) -> Result<Admitted, Box<Response>> {
    let refused = |error: PageError| Box::new(error.into_response());
    let is_form = head.method == Method::POST;
    let Some((visitor, secret, cookie)) = visitor(site, head)
        .await
        .map_err(|error| refused(error.into()))?
    else {
        // A form without a session has nobody behind it; a page leads to signing in.
        return Err(if is_form || site.access.is_some() {
            refused(PageError::missing())
        } else {
            Box::new(sign_in::ask(site, base, head))
        });
    };
    // From here on its connection is a known caller's, which strangers do not make room by.
    // A stream of news holds none of the workspace's requests.
    if head.uri.path() != "/live" {
        let context = RequestContext::of(&head.extensions);
        let known = context.authenticate(visitor.workspace);
        known.map_err(|error| refused(error.into()))?;
    }
    let token = session::form_token(&secret);
    let (mut form, mut fields) = (None, Fields::default());
    if is_form {
        check_origin(&head.headers).map_err(refused)?;
        let api = &site.ports.api;
        let read = api.read_form(visitor.workspace, head, body, FORM_LEN_MAX);
        let read = read.await.map_err(|error| refused(error.into()))?;
        fields = Fields::parse(&read.bytes);
        if fields.get(TOKEN_FIELD) != token {
            return Err(refused(forged()));
        }
        form = Some(read);
    }
    // Forms change something, but for the one that ends the session.
    let is_allowed =
        !matches!(visitor.reach, Reach::WorkspaceToRead) || head.uri.path() == "/sign-out";
    if is_form && !is_allowed {
        return Err(refused(PageError::forbidden()));
    }
    let view = View {
        site: Arc::clone(site),
        base: Arc::clone(base),
        here: head.uri.path().into(),
        visitor: Arc::new(visitor),
        brand: Arc::new(site.settings.brand.with(session::look(&secret))),
        form_token: token.into(),
        query: Arc::new(Fields::parse(
            head.uri.query().unwrap_or_default().as_bytes(),
        )),
        form: Arc::new(fields),
    };
    Ok((view, cookie, form))
}

/// The visitor, the secret in its cookie, and the cookie if it is to be set.
type Found = (Visitor, String, Option<String>);

async fn visitor(site: &Site, head: &Parts) -> Result<Option<Found>, nahook_core::StoreError> {
    let secret = session::secret(site, &head.headers).map(str::to_owned);
    if let Some(access) = &site.access {
        let Some(operator) = access.operator(head).await else {
            return Ok(None);
        };
        let visitor = Visitor {
            workspace: operator.workspace,
            actor: Actor::from(&operator),
            reach: Reach::Workspace,
            session: None,
        };
        // The cookie only ties forms to the browser that they were shown in.
        if let Some(secret) = secret {
            return Ok(Some((visitor, secret, None)));
        }
        let secret = session::new_secret();
        let cookie = session::set_cookie(site, &secret);
        return Ok(Some((visitor, secret, Some(cookie))));
    }
    let Some(secret) = secret else {
        return Ok(None);
    };
    let found = site.visitor(&secret).await?;
    Ok(found.map(|visitor| (visitor, secret, None)))
}

impl Audience {
    /// Path of the first page.
    pub(crate) const fn home(self) -> &'static str {
        match self {
            Self::Operators => "",
            Self::Customers => "/endpoints",
        }
    }
}
