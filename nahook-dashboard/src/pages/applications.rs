//! Applications: the workspace's customers.

use std::collections::BTreeMap;

use axum::extract::Path;
use maud::{Markup, html};
use nahook_control::{
    ApplicationPatch, ApplicationRecord, EndpointQuery, NewApplication, NewPortalSession,
    PortalRole, SessionHolder, SessionStore as _,
};
use nahook_core::id::ApplicationId;

use super::Answer;
use super::endpoint_form::{labels, labels_field, labels_text};
use super::endpoints::{self, failing};
use crate::error::PageError;
use crate::page::{button, check, confirm, field, page, redirect, table, text_field, token, turns};
use crate::text::{count, cut, time, visible};
use crate::view::View;

/// Applications on a page.
const PAGE: u64 = 50;
/// Endpoints on the page of an application.
const ENDPOINTS: u64 = 50;

pub(super) async fn list(view: View) -> Answer {
    let from = view.query.value::<u64>("from")?.unwrap_or(0);
    let search = view.query.some("q");
    let (management, workspace) = (view.management(), view.workspace());
    let mut found = match &search {
        Some(text) => management.applications_like(workspace, text, PAGE).await?,
        None => management.applications(workspace, from, PAGE + 1).await?,
    };
    let has_more = found.len() as u64 > PAGE;
    found.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    Ok(page(
        &view,
        "Applications",
        &html! {
            h1 { "Applications" }
            p { "An application is a customer of yours, with endpoints of its own and a portal to manage them." }
            form.filter method="get" action=(view.url("/applications")) role="search" {
                div.field {
                    label for="q" { "Customer or id" }
                    input #q type="search" name="q" value=[&search];
                }
                button type="submit" { "Search" }
            }
            @if !found.is_empty() { (rows(&view, &found)) }
            @else if search.is_some() { div.card { p { "There is no such application." } } }
            @else { div.card { p { "There is none yet." } } }
            (turns((from, PAGE, has_more), ("Before", "Next"), |from| view.url(format_args!("/applications?from={from}"))))
            h2 { "Add an application" }
            form.card method="post" action=(view.url("/applications")) {
                (token(&view))
                (text_field("name", "Name", "", ""))
                (text_field("external_id", "External id", "", "Your own id of the customer."))
                (common(None))
                button.main type="submit" { "Add it" }
            }
        },
    ))
}

pub(super) fn rows(view: &View, applications: &[ApplicationRecord]) -> Markup {
    let rows: Vec<_> = applications
        .iter()
        .map(|row| {
            html! {
                th scope="row" { a href=(view.url(format_args!("/applications/{}", row.id))) { (cut(&row.name, 120)) } }
                td { @match &row.external_id { Some(id) => code { (cut(id, 80)) }, None => "–" } }
                td { @match row.max_endpoints { Some(max) => (max), None => "no limit" } }
                td { (time(row.created_at)) }
            }
        })
        .collect();
    table(
        "Applications",
        &["Name", "External id", "Endpoints at most", "Created"],
        &rows,
    )
}

fn common(row: Option<&ApplicationRecord>) -> Markup {
    let max = row.and_then(|row| row.max_endpoints);
    let input =
        html! { input type="number" min="0" id="max_endpoints" name="max_endpoints" value=[max]; };
    let shows = row.is_none_or(|row| row.show_event_types);
    html! {
        (field("max_endpoints", "Endpoints at most", &input, "Leave it empty for no limit."))
        (check("show_event_types", "yes", shows, &html! { "The portal shows the event types" }))
        (labels_field(&row.map(|row| labels_text(&row.metadata)).unwrap_or_default()))
    }
}

pub(super) async fn create(view: View) -> Answer {
    let form = &view.form;
    let new = NewApplication {
        name: form.get("name").trim().to_owned(),
        external_id: form.some("external_id"),
        metadata: labels(form.get("labels"))?,
        max_endpoints: form.value("max_endpoints")?,
        show_event_types: form.is_set("show_event_types"),
    };
    let actor = &view.visitor.actor;
    let made = view
        .management()
        .create_application(view.workspace(), actor, new)
        .await?;
    Ok(redirect(&view.url(format_args!(
        "/applications/{}?done=created",
        made.id
    ))))
}

async fn application(view: &View, text: &str) -> Result<ApplicationRecord, PageError> {
    let id: ApplicationId = text.parse().map_err(|_| PageError::missing())?;
    let found = view.management().application(view.workspace(), id).await?;
    Ok(found)
}

pub(super) async fn show(view: View, Path(text): Path<String>) -> Answer {
    let row = application(&view, &text).await?;
    let from = view.query.value::<u64>("from")?.unwrap_or(0);
    let query = EndpointQuery {
        application: Some(row.id),
        offset: from,
        limit: ENDPOINTS,
        ..EndpointQuery::default()
    };
    let management = view.management();
    let own = management.find_endpoints(view.workspace(), &query).await?;
    let known = failing(&view, &own.endpoints).await?;
    let path = format!("/applications/{}", row.id);
    Ok(page(
        &view,
        &row.name,
        &html! {
            p.crumbs { a href=(view.url("/applications")) { "Applications" } }
            h1 { (visible(&row.name)) }
            div.card { dl.facts {
                dt { "Id" } dd { code data-copy="the id" { (row.id) } }
                @if let Some(id) = &row.external_id { dt { "External id" } dd { code { (visible(id)) } } }
                dt { "Created" } dd { (time(row.created_at)) }
            } }
            h2 { "Endpoints" }
            @if own.endpoints.is_empty() { div.card { p { "It has none, so that no event is delivered to it." } } }
            @else { (endpoints::rows(&view, &own.endpoints, &known)) }
            @if own.total > ENDPOINTS { p.quiet { (own.total) " endpoints" } }
            (turns((from, ENDPOINTS, from.saturating_add(ENDPOINTS) < own.total), ("Newer", "Older"), |from| view.url(format_args!("{path}?from={from}"))))
            div.actions {
                a.button href=(view.url(format_args!("/endpoints/new?application={}", row.id))) { "Add an endpoint" }
            }
            h2 { "Portal" }
            form.card method="post" action=(view.url(format_args!("{path}/portal"))) {
                (token(&view))
                @let roles = html! { select id="role" name="role" {
                    option value="viewer" { "Viewer: looks" }
                    option value="editor" { "Editor: changes endpoints and retries" }
                    option value="admin" { "Admin: also sees secrets and deletes" }
                } };
                (field("role", "Role", &roles, "The link can be used once, within five minutes."))
                button type="submit" { "Make a link to the portal" }
            }
            (button(&view, &format!("{path}/sign-out"), "", "End every session in its portal"))
            h2 { "Change it" }
            form.card method="post" action=(view.url(&path)) {
                (token(&view))
                (text_field("name", "Name", &row.name, ""))
                (common(Some(&row)))
                div.actions {
                    button.main type="submit" { "Save" }
                    a.button.danger href=(view.url(format_args!("{path}/delete"))) { "Delete" }
                }
            }
        },
    ))
}

pub(super) async fn save(view: View, Path(text): Path<String>) -> Answer {
    let row = application(&view, &text).await?;
    let form = &view.form;
    let patch = ApplicationPatch {
        name: Some(form.get("name").trim().to_owned()),
        metadata: Some(labels(form.get("labels"))?),
        max_endpoints: Some(form.value("max_endpoints")?),
        show_event_types: Some(form.is_set("show_event_types")),
    };
    let actor = &view.visitor.actor;
    view.management()
        .update_application(view.workspace(), actor, row.id, patch)
        .await?;
    Ok(redirect(
        &view.url(format_args!("/applications/{}?done=saved", row.id)),
    ))
}

/// Makes a link to the portal, which is shown this once.
pub(super) async fn portal(view: View, Path(text): Path<String>) -> Answer {
    let row = application(&view, &text).await?;
    let role = match view.form.get("role") {
        "admin" => PortalRole::Admin,
        "editor" => PortalRole::Editor,
        _ => PortalRole::Viewer,
    };
    let new = NewPortalSession {
        role,
        expires_in_minutes: None,
        metadata: BTreeMap::new(),
    };
    let actor = &view.visitor.actor;
    let made = view
        .management()
        .create_portal_session(view.workspace(), actor, row.id, new)
        .await?;
    let url = view.site.ports.api.portal_url(made.code.expose());
    Ok(page(
        &view,
        "Link to the portal",
        &html! {
            p.crumbs { a href=(view.url(format_args!("/applications/{}", row.id))) { (visible(&row.name)) } }
            h1 { "Link to the portal" }
            div.card {
                p { "Whoever opens it first is " (role.as_str()) " of " strong { (visible(&row.name)) } " for an hour. It can be used once, within five minutes." }
                p { code data-copy="the link" { (url) } }
                a.button href=(url) rel="noopener" target="_blank" { "Open it" }
            }
        },
    ))
}

pub(super) async fn sign_out(view: View, Path(text): Path<String>) -> Answer {
    let row = application(&view, &text).await?;
    // The role does not matter: all of them end.
    let holder = SessionHolder::Application(row.id, PortalRole::Viewer);
    view.site.ports.sessions.end_sessions(&holder).await?;
    Ok(redirect(
        &view.url(format_args!("/applications/{}?done=saved", row.id)),
    ))
}

pub(super) async fn ask_delete(view: View, Path(text): Path<String>) -> Answer {
    let row = application(&view, &text).await?;
    let query = EndpointQuery {
        application: Some(row.id),
        ..EndpointQuery::default()
    };
    let management = view.management();
    let own = management.find_endpoints(view.workspace(), &query).await?;
    let own = usize::try_from(own.total).unwrap_or(usize::MAX);
    let consequences = html! {
        p { strong { (visible(&row.name)) } " goes with " (count(own, "endpoint", "endpoints"))
            ", their subscriptions and its portal sessions. What is queued for them ends as failed; the history stays until its retention has passed." }
    };
    let back = format!("/applications/{}", row.id);
    let action = format!("{back}/delete");
    Ok(confirm(
        &view,
        "Delete the application",
        &consequences,
        &action,
        &back,
    ))
}

pub(super) async fn delete(view: View, Path(text): Path<String>) -> Answer {
    let row = application(&view, &text).await?;
    let actor = &view.visitor.actor;
    view.management()
        .delete_application(view.workspace(), actor, row.id)
        .await?;
    let holder = SessionHolder::Application(row.id, PortalRole::Viewer);
    view.site.ports.sessions.end_sessions(&holder).await?;
    Ok(redirect(&view.url("/applications?done=deleted")))
}
