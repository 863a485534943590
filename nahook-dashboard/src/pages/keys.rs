//! API keys and management tokens.

use axum::extract::Path;
use maud::{Markup, html};
use nahook_control::{KeyState, ManagementStore as _, NewApiKey, SecretText, Select, Snapshot};
use nahook_core::Timestamp;
use nahook_core::id::{ApiKeyId, EnvironmentId, ManagementTokenId};

use super::Answer;
use crate::error::PageError;
use crate::page::{
    badge, confirm, field, page, page_of, redirect, table, text_field, token, turns,
};
use crate::text::{cut, time, visible};
use crate::view::View;

/// Keys on a page, and as many tokens.
const PAGE: u64 = 25;
const TURNS: (&str, &str) = ("Before", "Next");
/// Fields of the query that say where the page begins.
const KEYS_FROM: &str = "from";
const TOKENS_FROM: &str = "tokens";

/// Columns of a row of either kind.
struct Row {
    path: String,
    name: String,
    scope: String,
    state: KeyState,
    created_at: Timestamp,
}

pub(super) async fn list(view: View) -> Answer {
    let (management, workspace) = (view.management(), view.workspace());
    let environments = management.environments(workspace).await?;
    let name_of = |id: EnvironmentId| {
        let mut rows = environments.iter();
        rows.find(|row| row.id == id)
            .map_or_else(|| id.to_string(), |row| visible(&row.name))
    };
    let from = [KEYS_FROM, TOKENS_FROM].map(|name| view.query.value::<u64>(name));
    let [keys_from, tokens_from] = from;
    let (keys_from, tokens_from) = (keys_from?.unwrap_or(0), tokens_from?.unwrap_or(0));
    let keys = management.api_keys(workspace).await?;
    let (keys, has_more_keys) = page_of(&keys, keys_from, PAGE);
    let keys = keys.iter().map(|row| Row {
        path: format!("/keys/{}", row.id),
        scope: match (row.environment, row.endpoint) {
            (_, Some(endpoint)) => format!("Endpoint {endpoint}"),
            (Some(environment), None) => name_of(environment),
            (None, None) => "Everything".to_owned(),
        },
        name: row.name.clone(),
        state: row.state,
        created_at: row.created_at,
    });
    let tokens = management.management_tokens(workspace).await?;
    let (tokens, has_more_tokens) = page_of(&tokens, tokens_from, PAGE);
    let tokens = tokens.iter().map(|row| Row {
        path: format!("/tokens/{}", row.id),
        scope: "Everything".to_owned(),
        name: row.name.clone(),
        state: row.state,
        created_at: row.created_at,
    });
    let (keys, tokens) = (rows(&view, keys), rows(&view, tokens));
    let head = ["Name", "Reaches", "State", "Created", "Change"];
    let link = |name: &str, from: u64| view.url(format_args!("/keys?{name}={from}"));
    Ok(page(
        &view,
        "Keys",
        &html! {
            h1 { "Keys" }
            h2 { "API keys" }
            p { "Your programs trigger events and send with them." }
            (table("API keys", &head, &keys))
            (turns((keys_from, PAGE, has_more_keys), TURNS, |from| link(KEYS_FROM, from)))
            form.card method="post" action=(view.url("/keys")) {
                (token(&view))
                h3 { "Make an API key" }
                (text_field("key_name", "Name", "", ""))
                @let select = html! { select id="environment" name="environment" {
                    option value="" { "All" }
                    @for row in &environments { option value=(row.id) { (visible(&row.name)) } }
                } };
                (field("environment", "Environment", &select, ""))
                (text_field("endpoint", "Endpoint", "", "The id of the only endpoint that it may send to; usually none."))
                button.main type="submit" { "Make the key" }
            }
            h2 { "Management tokens" }
            p { "They manage the workspace, and sign in to this dashboard." }
            (table("Management tokens", &head, &tokens))
            (turns((tokens_from, PAGE, has_more_tokens), TURNS, |from| link(TOKENS_FROM, from)))
            form.card method="post" action=(view.url("/tokens")) {
                (token(&view))
                h3 { "Make a management token" }
                (text_field("token_name", "Name", "", ""))
                button.main type="submit" { "Make the token" }
            }
            h2 { "Sessions" }
            form.card method="post" action=(view.url("/sign-out")) {
                (token(&view))
                p { "Ends every session of the dashboard that was begun with the token of this one." }
                button type="submit" name="everywhere" value="yes" { "Sign out everywhere" }
            }
        },
    ))
}

fn rows(view: &View, rows: impl Iterator<Item = Row>) -> Vec<Markup> {
    rows.map(|row| {
        let (class, text) = match row.state {
            KeyState::Active => ("good", "Active"),
            KeyState::Disabled => ("wait", "Disabled"),
            KeyState::Revoked => ("plain", "Revoked"),
        };
        let (to, button) = match row.state {
            KeyState::Active => ("disabled", "Disable"),
            _ => ("active", "Enable"),
        };
        html! {
            th scope="row" { (cut(&row.name, 160)) }
            td { (row.scope) }
            td { (badge(class, text)) }
            td { (time(row.created_at)) }
            td { @if row.state != KeyState::Revoked { div.actions {
                form method="post" action=(view.url(format_args!("{}/state", row.path))) {
                    (token(view))
                    button type="submit" name="state" value=(to) { (button) }
                }
                a.button.danger href=(view.url(format_args!("{}/revoke", row.path))) { "Revoke" }
            } } }
        }
    })
    .collect()
}

pub(super) async fn create(view: View) -> Answer {
    let form = &view.form;
    let new = NewApiKey {
        name: form.get("key_name").trim().to_owned(),
        environment: form.value("environment")?,
        endpoint: form.value("endpoint")?,
    };
    let actor = &view.visitor.actor;
    let (row, secret) = view
        .management()
        .create_api_key(view.workspace(), actor, new)
        .await?;
    Ok(shown_once(&view, "API key", &row.name, &secret))
}

pub(super) async fn create_token(view: View) -> Answer {
    let name = view.form.get("token_name").trim().to_owned();
    let actor = &view.visitor.actor;
    let (row, secret) = view
        .management()
        .create_management_token(view.workspace(), actor, name)
        .await?;
    Ok(shown_once(&view, "Management token", &row.name, &secret))
}

fn shown_once(
    view: &View,
    kind: &str,
    name: &str,
    secret: &SecretText,
) -> axum::response::Response {
    page(
        view,
        kind,
        &html! {
            p.crumbs { a href=(view.url("/keys")) { "Keys" } }
            h1 { (kind) " “" (visible(name)) "”" }
            div.card {
                p { strong { "It is shown this once." } " Only its hash is kept." }
                p { code data-copy="the secret" { (secret.expose()) } }
                a.button href=(view.url("/keys")) { "Done" }
            }
        },
    )
}

fn state(view: &View) -> Result<KeyState, PageError> {
    match view.form.get("state") {
        "active" => Ok(KeyState::Active),
        "disabled" => Ok(KeyState::Disabled),
        "revoked" => Ok(KeyState::Revoked),
        _ if view.form.is_set("confirmed") => Ok(KeyState::Revoked),
        _ => Err(PageError::invalid("There is no such state")),
    }
}

pub(super) async fn set_state(view: View, Path(text): Path<String>) -> Answer {
    let id: ApiKeyId = text.parse().map_err(|_| PageError::missing())?;
    let (actor, state) = (&view.visitor.actor, state(&view)?);
    view.management()
        .set_api_key_state(view.workspace(), actor, id, state)
        .await?;
    Ok(redirect(&view.url("/keys?done=saved")))
}

pub(super) async fn set_token_state(view: View, Path(text): Path<String>) -> Answer {
    let id: ManagementTokenId = text.parse().map_err(|_| PageError::missing())?;
    let (actor, state) = (&view.visitor.actor, state(&view)?);
    view.management()
        .set_management_token_state(view.workspace(), actor, id, state)
        .await?;
    Ok(redirect(&view.url("/keys?done=saved")))
}

async fn read(view: &View, wanted: Select) -> Result<Snapshot, PageError> {
    let store = &view.site.ports.api.ports().store;
    Ok(store.read(view.workspace(), &[wanted]).await?)
}

pub(super) async fn ask_revoke(view: View, Path(text): Path<String>) -> Answer {
    let id: ApiKeyId = text.parse().map_err(|_| PageError::missing())?;
    let found = read(&view, Select::ApiKey(id)).await?;
    let row = found.api_keys.into_iter().next();
    let row = row.ok_or_else(PageError::missing)?;
    let consequences = html! {
        p { "Programs that use " strong { (visible(&row.name)) } " are refused from then on. It cannot be undone." }
    };
    let action = format!("/keys/{id}/state");
    Ok(confirm(
        &view,
        "Revoke the API key",
        &consequences,
        &action,
        "/keys",
    ))
}

pub(super) async fn ask_revoke_token(view: View, Path(text): Path<String>) -> Answer {
    let id: ManagementTokenId = text.parse().map_err(|_| PageError::missing())?;
    let found = read(&view, Select::ManagementToken(id)).await?;
    let row = found.management_tokens.into_iter().next();
    let row = row.ok_or_else(PageError::missing)?;
    let consequences = html! {
        p { "Programs that use " strong { (visible(&row.name)) } " are refused from then on, and every session that was begun with it ends. It cannot be undone." }
    };
    let action = format!("/tokens/{id}/state");
    Ok(confirm(
        &view,
        "Revoke the management token",
        &consequences,
        &action,
        "/keys",
    ))
}
