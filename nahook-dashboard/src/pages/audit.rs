//! The audit log.

use maud::html;
use nahook_control::{ActorKind, AuditQuery};

use super::Answer;
use crate::page::{page, table, turns};
use crate::text::{cut, time, visible};
use crate::view::View;

/// Entries on a page.
const PAGE: u64 = 50;

pub(super) async fn list(view: View) -> Answer {
    let from = view.query.value::<u64>("from")?.unwrap_or(0);
    let action = view.query.some("action");
    let kind = view.query.get("actor").to_owned();
    let query = AuditQuery {
        offset: from,
        limit: PAGE,
        action: action.clone(),
        actor_kind: ActorKind::ALL.into_iter().find(|it| it.as_str() == kind),
        ..AuditQuery::default()
    };
    let found = view
        .management()
        .audit_log(view.workspace(), &query)
        .await?;
    let rows: Vec<_> = found
        .entries
        .iter()
        .map(|entry| {
            html! {
                td { (time(entry.created_at)) }
                th scope="row" { (visible(&entry.action)) }
                td { (cut(&entry.actor.label, 80)) br; span.quiet { (cut(&entry.actor.id, 80)) } }
                td { code { (visible(&entry.resource_id)) } }
                td { @for (key, value) in &entry.metadata { code { (cut(key, 40)) "=" (cut(value, 160)) } " " } }
            }
        })
        .collect();
    let link = |from: u64| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("action", action.as_deref().unwrap_or_default())
            .append_pair("actor", &kind)
            .append_pair("from", &from.to_string())
            .finish();
        view.url(format_args!("/audit?{query}"))
    };
    Ok(page(
        &view,
        "Audit log",
        &html! {
            h1 { "Audit log" }
            form.filter method="get" action=(view.url("/audit")) role="search" {
                div.field {
                    label for="action" { "Action" }
                    input #action type="search" name="action" placeholder="endpoint.created" value=(action.as_deref().unwrap_or_default());
                }
                div.field {
                    label for="actor" { "Kind of actor" }
                    select #actor name="actor" {
                        option value="" { "All" }
                        @for (value, name) in [("management_token", "Management token"), ("operator", "Operator"), ("system", "System")] {
                            option value=(value) selected[kind == value] { (name) }
                        }
                    }
                }
                button type="submit" { "Search" }
            }
            p.quiet { (found.total) " entries" }
            @if rows.is_empty() { div.card { p { "There is none." } } }
            @else { (table("Audit log", &["Time", "Action", "Actor", "Resource", "Details"], &rows)) }
            (turns((from, PAGE, from.saturating_add(PAGE) < found.total), ("Newer", "Older"), link))
        },
    ))
}
