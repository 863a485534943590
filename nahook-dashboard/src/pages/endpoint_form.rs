//! Making, changing, switching and deleting endpoints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::Path;
use maud::{Markup, html};
use nahook_control::{EndpointKind, EndpointPatch, EndpointRecord, NewEndpoint, SecretText};
use nahook_core::id::{ApplicationId, EnvironmentId};
use nahook_queue::{DeliverySearch as _, StatsQuery};
use serde_json::{Map, Value};

use super::Answer;
use crate::access::Right;
use crate::error::PageError;
use crate::form::Fields;
use crate::page::{confirm, field, page, redirect, text_field, token};
use crate::text::visible;
use crate::view::View;

/// Deliveries that are counted before something is done to them.
const COUNTED_MAX: u64 = 1_000;

/// Reads labels, one `key=value` a line.
pub(super) fn labels(text: &str) -> Result<BTreeMap<String, String>, PageError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let pair = |line: &str| match line.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err(PageError::invalid("A label is key=value, one a line")),
    };
    lines.map(pair).collect()
}

/// Writes labels so that [`labels`] reads them.
pub(super) fn labels_text(labels: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in labels {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

pub(super) fn labels_field(value: &str) -> Markup {
    let input = html! { textarea.code id="labels" name="labels" rows="4" { (value) } };
    field("labels", "Labels", &input, "One key=value a line.")
}

pub(super) async fn new(view: View) -> Answer {
    view.require(Right::Change)?;
    let environments = view.management().environments(view.workspace()).await?;
    let application = view.query.get("application");
    Ok(page(
        &view,
        "Add an endpoint",
        &html! {
            p.crumbs { a href=(view.url("/endpoints")) { "Endpoints" } }
            h1 { "Add an endpoint" }
            form.card method="post" action=(view.url("/endpoints/new")) {
                (token(&view))
                @let url = html! { input type="url" id="url" name="url" required placeholder="https://example.com/webhooks"; };
                (field("url", "URL", &url, "Deliveries are POSTed here. It has to answer with a status from 200 to 299."))
                (text_field("description", "Description", "", ""))
                @if !view.is_customer() {
                    @let kinds = html! { select id="kind" name="kind" {
                        option value="webhook" { "Signed webhook" } option value="slack" { "Slack" }
                    } };
                    (field("kind", "Kind", &kinds, ""))
                    @let select = html! { select id="environment" name="environment" {
                        @for row in &environments { option value=(row.id) selected[row.is_default] { (visible(&row.name)) } }
                    } };
                    (field("environment", "Environment", &select, ""))
                    (text_field("application", "Application", application, "The id of the customer that it belongs to; nothing if it is your own."))
                    (labels_field(""))
                }
                (auth_fields(None))
                div.actions {
                    button.main type="submit" { "Add the endpoint" }
                    a.button href=(view.url("/endpoints")) { "Cancel" }
                }
            }
        },
    ))
}

fn auth_fields(username: Option<&str>) -> Markup {
    let password = html! { input type="password" id="auth_password" name="auth_password" autocomplete="new-password"; };
    let hint = if username.is_some() {
        "Leave it empty to keep the one that is set."
    } else {
        ""
    };
    html! {
        details open[username.is_some()] {
            summary { "Basic authentication" }
            @let user = html! { input type="text" id="auth_username" name="auth_username" autocomplete="off" value=(username.unwrap_or_default()); };
            (field("auth_username", "User name", &user, "Leave it empty for none."))
            (field("auth_password", "Password", &password, hint))
        }
    }
}

fn auth(form: &Fields) -> (Option<String>, Option<SecretText>) {
    let username = form.some("auth_username");
    let password = form.get("auth_password");
    let password = (!password.is_empty()).then(|| SecretText::new(password));
    (username, password)
}

pub(super) async fn create(view: View) -> Answer {
    view.require(Right::Change)?;
    let form = &view.form;
    let (auth_username, auth_password) = auth(form);
    let mut new = NewEndpoint {
        url: form.some("url"),
        description: form.some("description"),
        auth_username,
        auth_password,
        ..NewEndpoint::default()
    };
    if let Some(application) = view.visitor.application() {
        // A customer's endpoint is its own, whatever the form says.
        new.application = Some(application.id);
    } else {
        new.application = form.value::<ApplicationId>("application")?;
        new.environment = form.value::<EnvironmentId>("environment")?;
        new.metadata = labels(form.get("labels"))?;
        if form.get("kind") == "slack" {
            new.kind = EndpointKind::Slack;
            new.config = slack(new.url.take().unwrap_or_default());
        }
    }
    let management = view.management();
    let made = management
        .create_endpoint(view.workspace(), &view.visitor.actor, new)
        .await?;
    Ok(redirect(&view.url(format_args!(
        "/endpoints/{}/subscriptions?done=created",
        made.id
    ))))
}

fn slack(url: String) -> Map<String, Value> {
    let mut config = Map::new();
    config.insert("webhookUrl".to_owned(), Value::String(url));
    config
}

pub(super) async fn edit(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Change)?;
    let path = format!("/endpoints/{}", endpoint.id);
    let username = endpoint.auth.as_ref().map(|auth| auth.username.as_str());
    Ok(page(
        &view,
        "Change the endpoint",
        &html! {
            p.crumbs { a href=(view.url(&path)) { (visible(&endpoint.url)) } }
            h1 { "Change the endpoint" }
            form.card method="post" action=(view.url(format_args!("{path}/edit"))) {
                (token(&view))
                @let url = html! { input type="url" id="url" name="url" required value=(endpoint.url); };
                (field("url", "URL", &url, ""))
                (text_field("description", "Description", endpoint.description.as_deref().unwrap_or_default(), ""))
                @if !view.is_customer() { (labels_field(&labels_text(&endpoint.metadata))) }
                (auth_fields(username))
                div.actions {
                    button.main type="submit" { "Save" }
                    a.button href=(view.url(&path)) { "Cancel" }
                }
            }
        },
    ))
}

pub(super) async fn save(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Change)?;
    let form = &view.form;
    let (username, password) = auth(form);
    let mut patch = EndpointPatch {
        description: Some(form.some("description")),
        ..EndpointPatch::default()
    };
    let url = form.some("url").filter(|url| *url != endpoint.url);
    match endpoint.kind {
        EndpointKind::Webhook => patch.url = url,
        EndpointKind::Slack => {
            patch.config = url.map(|url| {
                let mut config = endpoint.config.clone();
                config.extend(slack(url));
                config
            });
        }
    }
    if !view.is_customer() {
        patch.metadata = Some(labels(form.get("labels"))?);
    }
    if username.is_some() || endpoint.auth.is_some() {
        let is_removed = username.is_none();
        patch.auth_username = Some(username);
        patch.auth_password = if is_removed {
            Some(None)
        } else {
            password.map(Some)
        };
    }
    change(&view, &endpoint, patch, "saved").await
}

async fn change(
    view: &View,
    endpoint: &EndpointRecord,
    patch: EndpointPatch,
    done: &str,
) -> Answer {
    let management = view.management();
    management
        .update_endpoint(view.workspace(), &view.visitor.actor, endpoint.id, patch)
        .await?;
    Ok(redirect(&view.url(format_args!(
        "/endpoints/{}?done={done}",
        endpoint.id
    ))))
}

pub(super) async fn enable(view: View, Path(id): Path<String>) -> Answer {
    switch(&view, &id, true).await
}

pub(super) async fn disable(view: View, Path(id): Path<String>) -> Answer {
    switch(&view, &id, false).await
}

async fn switch(view: &View, id: &str, is_active: bool) -> Answer {
    let endpoint = view.endpoint(id).await?;
    view.require(Right::Change)?;
    let patch = EndpointPatch {
        is_active: Some(is_active),
        ..EndpointPatch::default()
    };
    let done = if is_active { "enabled" } else { "disabled" };
    change(view, &endpoint, patch, done).await
}

pub(super) async fn ask_disable(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Change)?;
    let path = format!("/endpoints/{}", endpoint.id);
    let waiting = waiting(&view, &endpoint).await?;
    let consequences = html! {
        p { "No event is queued for " strong { (visible(&endpoint.url)) } " while it is disabled, and what happens meanwhile is not sent later." }
        p { (waiting) " waiting and will end as failed; retry them once it is enabled again." }
    };
    let action = format!("{path}/disable");
    Ok(confirm(
        &view,
        "Disable the endpoint",
        &consequences,
        &action,
        &path,
    ))
}

pub(super) async fn ask_delete(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Administer)?;
    let path = format!("/endpoints/{}", endpoint.id);
    let waiting = waiting(&view, &endpoint).await?;
    let consequences = html! {
        p { strong { (visible(&endpoint.url)) } " goes with its subscriptions. Its history stays until its retention has passed." }
        p { (waiting) " waiting and will end as failed." }
    };
    let action = format!("{path}/delete");
    Ok(confirm(
        &view,
        "Delete the endpoint",
        &consequences,
        &action,
        &path,
    ))
}

/// Tells how many deliveries wait for the endpoint.
async fn waiting(view: &View, endpoint: &EndpointRecord) -> Result<String, PageError> {
    let query = StatsQuery {
        workspace: *view.workspace(),
        endpoint: Some(endpoint.id),
        count_max: COUNTED_MAX,
        is_unsettled_only: true,
    };
    let search = &view.site.ports.api.ports().search;
    let stats = search.stats(&query).await?;
    Ok(
        match stats.pending + stats.scheduled_retry + stats.delivering {
            1 => "1 delivery is".to_owned(),
            COUNTED_MAX.. => format!("{COUNTED_MAX} deliveries or more are"),
            number => format!("{number} deliveries are"),
        },
    )
}

pub(super) async fn delete(view: View, Path(id): Path<String>) -> Answer {
    let endpoint = view.endpoint(&id).await?;
    view.require(Right::Administer)?;
    let management = view.management();
    management
        .delete_endpoint(view.workspace(), &view.visitor.actor, endpoint.id)
        .await?;
    Ok(redirect(&view.url("/endpoints?done=deleted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_survive_their_text() {
        let read = labels("a=1\n\n b = 2=3 \r\n").unwrap();
        assert_eq!(labels_text(&read), "a=1\nb=2=3\n");
        assert!(labels("nothing").is_err());
    }
}
