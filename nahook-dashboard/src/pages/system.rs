//! The system: what runs here, and whether it works.

use maud::html;

use super::Answer;
use crate::page::{badge, page, table};
use crate::text::visible;
use crate::view::View;

pub(super) async fn show(view: View) -> Answer {
    let settings = &view.site.settings;
    let checks = match &view.site.ports.operations {
        Some(operations) => operations.check().await,
        None => Vec::new(),
    };
    let rows: Vec<_> = checks
        .iter()
        .map(|(name, check)| {
            html! {
                th scope="row" { (name.replace('_', " ")) }
                td { @match check { Ok(()) => (badge("good", "Works")), Err(reason) => { (badge("bad", "Fails")) " " (visible(reason)) } } }
            }
        })
        .collect();
    Ok(page(
        &view,
        "System",
        &html! {
            h1 { "System" }
            div.card { dl.facts {
                dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
                @for (name, value) in &settings.facts { dt { (name) } dd { (visible(value)) } }
            } }
            @if !rows.is_empty() {
                h2 { "Health" }
                (table("Health", &["Check", "Result"], &rows))
            }
        },
    ))
}
