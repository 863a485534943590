//! Environments, and which event types each publishes.

use std::collections::HashSet;

use axum::extract::Path;
use maud::{Markup, html};
use nahook_control::{EnvironmentRecord, NewEnvironment, Visibility};
use nahook_core::id::EnvironmentId;

use super::Answer;
use crate::error::PageError;
use crate::page::{
    badge, confirm, field, page, page_of, redirect, shown, table, text_field, token, turns,
};
use crate::text::{cut, time, visible};
use crate::view::View;

/// Boxes of the matrix on a page.
const BOXES: u64 = 160;

/// Each environment with what it publishes, the event types in the same order everywhere.
async fn matrix(view: &View) -> Result<Vec<(EnvironmentRecord, Vec<Visibility>)>, PageError> {
    let (management, workspace) = (view.management(), view.workspace());
    let mut columns = Vec::new();
    for environment in management.environments(workspace).await? {
        let mut rows = management.visibility(workspace, environment.id).await?;
        rows.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        columns.push((environment, rows));
    }
    Ok(columns)
}

pub(super) async fn list(view: View) -> Answer {
    let mut columns = matrix(&view).await?;
    let from = view.query.value::<u64>("from")?.unwrap_or(0);
    let len = (BOXES / columns.len().max(1) as u64).max(1);
    let mut has_more = false;
    for (_, rows) in &mut columns {
        let (shown, is_cut) = page_of(rows, from, len);
        has_more |= is_cut;
        *rows = shown.to_vec();
    }
    let rows: Vec<_> = columns
        .iter()
        .map(|(row, _)| environment(&view, row))
        .collect();
    Ok(page(
        &view,
        "Environments",
        &html! {
            h1 { "Environments" }
            (table("Environments", &["Name", "Slug", "Created", "Change"], &rows))
            h2 { "Published event types" }
            (visibility(&view, &columns))
            @if from > 0 || has_more { p.quiet { "Save before you turn the page." } }
            (turns((from, len, has_more), ("Before", "Next"), |from| view.url(format_args!("/environments?from={from}"))))
            h2 { "Add an environment" }
            form.card method="post" action=(view.url("/environments")) {
                (token(&view))
                (text_field("name", "Name", "", ""))
                @let slug = html! { input type="text" id="slug" name="slug" required placeholder="staging"; };
                (field("slug", "Slug", &slug, "2 to 50 lower-case letters, digits and hyphens; it stays."))
                button.main type="submit" { "Add it" }
            }
        },
    ))
}

fn environment(view: &View, row: &EnvironmentRecord) -> Markup {
    let path = format!("/environments/{}", row.id);
    let input = format!("name-{}", row.id);
    html! {
        th scope="row" { (visible(&row.name)) " " @if row.is_default { (badge("plain", "Default")) } }
        td { code { (row.slug) } }
        td { (time(row.created_at)) }
        td {
            form.actions method="post" action=(view.url(&path)) {
                (token(view))
                label for=(input) { "Name" }
                input id=(input) type="text" name="name" value=(row.name);
                button type="submit" { "Rename" }
            }
            @if !row.is_default { a.button.danger href=(view.url(format_args!("{path}/delete"))) { "Delete" } }
        }
    }
}

fn visibility(view: &View, columns: &[(EnvironmentRecord, Vec<Visibility>)]) -> Markup {
    let names: Vec<_> = columns
        .first()
        .map(|(_, rows)| rows.iter())
        .into_iter()
        .flatten()
        .collect();
    if names.is_empty() {
        return html! { div.card { p { "There are no event types yet." } } };
    }
    let head: Vec<_> = std::iter::once("Event type".to_owned())
        .chain(
            columns
                .iter()
                .map(|(environment, _)| visible(&environment.name)),
        )
        .collect();
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let rows: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            html! {
                th scope="row" { (name.name) (shown("shown", name.event_type.as_str())) }
                @for (environment, rows) in columns {
                    @let is_published = rows.get(place).is_some_and(|row| row.published);
                    td { input type="checkbox" name="published" value={ (environment.id) "/" (name.event_type) }
                        aria-label={ (name.name) " in " (cut(&environment.name, 60)) }
                        checked[is_published] disabled[environment.is_default]; }
                }
            }
        })
        .collect();
    html! {
        form method="post" action=(view.url("/environments/visibility")) {
            (token(view))
            (table("Published event types", &head, &rows))
            p.quiet { "The default environment publishes every event type." }
            button type="submit" { "Save" }
        }
    }
}

pub(super) async fn save_visibility(view: View) -> Answer {
    let checked: HashSet<String> = view.form.all("published").map(str::to_owned).collect();
    let shown: HashSet<&str> = view.form.all("shown").collect();
    let management = view.management();
    for (environment, rows) in matrix(&view).await? {
        if environment.is_default {
            continue;
        }
        for row in rows {
            let is_checked = checked.contains(&format!("{}/{}", environment.id, row.event_type));
            if is_checked != row.published && shown.contains(row.event_type.as_str()) {
                let actor = &view.visitor.actor;
                management
                    .set_visibility(
                        view.workspace(),
                        actor,
                        environment.id,
                        row.event_type,
                        is_checked,
                    )
                    .await?;
            }
        }
    }
    Ok(redirect(&view.url("/environments?done=saved")))
}

pub(super) async fn create(view: View) -> Answer {
    let new = NewEnvironment {
        name: view.form.get("name").trim().to_owned(),
        slug: view.form.get("slug").trim().to_owned(),
    };
    let actor = &view.visitor.actor;
    view.management()
        .create_environment(view.workspace(), actor, new)
        .await?;
    Ok(redirect(&view.url("/environments?done=created")))
}

fn id(text: &str) -> Result<EnvironmentId, PageError> {
    text.parse().map_err(|_| PageError::missing())
}

pub(super) async fn rename(view: View, Path(text): Path<String>) -> Answer {
    let name = Some(view.form.get("name").trim().to_owned());
    let actor = &view.visitor.actor;
    view.management()
        .update_environment(view.workspace(), actor, id(&text)?, name)
        .await?;
    Ok(redirect(&view.url("/environments?done=saved")))
}

pub(super) async fn ask_delete(view: View, Path(text): Path<String>) -> Answer {
    let id = id(&text)?;
    let row = view.management().environment(view.workspace(), id).await?;
    let consequences = html! {
        p { strong { (visible(&row.name)) } " goes, and the keys that are bound to it are revoked. It can only go while it has no endpoints." }
    };
    let action = format!("/environments/{id}/delete");
    Ok(confirm(
        &view,
        "Delete the environment",
        &consequences,
        &action,
        "/environments",
    ))
}

pub(super) async fn delete(view: View, Path(text): Path<String>) -> Answer {
    let actor = &view.visitor.actor;
    view.management()
        .delete_environment(view.workspace(), actor, id(&text)?)
        .await?;
    Ok(redirect(&view.url("/environments?done=deleted")))
}
