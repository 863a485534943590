//! The frame of every page, and the pieces that pages are made of.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use nahook_core::Metadata;
use nahook_queue::DeliveryStatus;

use crate::brand::Brand;
use crate::error::PageError;
use crate::form::TOKEN_FIELD;
use crate::site::{Audience, Site};
use crate::text::{cut, visible};
use crate::view::View;

/// The pages in the navigation, with the paths that belong to each.
const OPERATORS: &[(&str, &str)] = &[
    ("", "Overview"),
    ("/events", "Events"),
    ("/endpoints", "Endpoints"),
    ("/event-types", "Event types"),
    ("/environments", "Environments"),
    ("/applications", "Applications"),
    ("/keys", "Keys"),
    ("/audit", "Audit log"),
    ("/system", "System"),
];
const CUSTOMERS: &[(&str, &str)] = &[("/endpoints", "Endpoints"), ("/event-types", "Event types")];

fn html_response(status: StatusCode, markup: Markup) -> Response {
    let content_type = HeaderValue::from_static("text/html; charset=utf-8");
    (
        status,
        [(header::CONTENT_TYPE, content_type)],
        markup.into_string(),
    )
        .into_response()
}

fn document(site: &Site, brand: &Brand, base: &str, title: &str, body: &Markup) -> Markup {
    let assets = &site.assets;
    let accent = brand.accent.as_ref();
    let accent = accent.filter(|_| brand.accent != site.settings.brand.accent);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (visible(title)) " · " (visible(&brand.name)) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                link rel="icon" href={ (base) "/assets/" (assets.icon.name) } type="image/svg+xml";
                link rel="stylesheet" href={ (base) "/assets/" (assets.style.name) };
                @if let Some(accent) = accent { link rel="stylesheet" href={ (base) "/assets/" (accent.sheet()) }; }
                script type="module" src={ (base) "/assets/" (assets.script.name) } {}
            }
            body { a.skip href="#content" { "Skip to the content" } (body) }
        }
    }
}

fn home_link(site: &Site, brand: &Brand, base: &str) -> Markup {
    let home = format!("{base}{}", site.audience.home());
    let home = if home.is_empty() {
        "/".to_owned()
    } else {
        home
    };
    html! {
        a.brand href=(home) {
            @if !brand.logo.is_empty() { span aria-hidden="true" { (visible(&brand.logo)) " " } }
            (visible(&brand.name))
        }
    }
}

/// A page for a visitor who has signed in.
pub(crate) fn page(view: &View, title: &str, content: &Markup) -> Response {
    let site = &view.site;
    let body = html! {
        header.top {
            (home_link(site, &view.brand, &view.base))
            nav aria-label="Pages" { ul {
                @for (path, name) in pages_of(view) {
                    li { a href=(home(view, path)) aria-current=[is_current(view, path).then_some("page")] { (name) } }
                }
            } }
            @if view.visitor.session.is_some() {
                form method="post" action=(view.url("/sign-out")) { (token(view)) button type="submit" { "Sign out" } }
            }
        }
        main #content {
            (notice(view))
            (content)
        }
        footer {
            @match view.visitor.application() {
                Some(application) => (visible(&application.name)),
                None => { "Workspace " code { (view.workspace()) } },
            }
        }
    };
    let document = document(site, &view.brand, &view.base, title, &body);
    html_response(StatusCode::OK, document)
}

fn pages_of(view: &View) -> impl Iterator<Item = &'static (&'static str, &'static str)> + use<> {
    let pages = match view.site.audience {
        Audience::Operators => OPERATORS,
        Audience::Customers => CUSTOMERS,
    };
    let application = view.visitor.application();
    let shows_types = application.is_none_or(|application| application.show_event_types);
    pages
        .iter()
        .filter(move |(path, _)| shows_types || *path != "/event-types")
}

fn home(view: &View, path: &str) -> String {
    let url = view.url(path);
    if url.is_empty() { "/".to_owned() } else { url }
}

fn is_current(view: &View, path: &str) -> bool {
    let here = view.here.trim_end_matches('/');
    if path.is_empty() {
        return here.is_empty();
    }
    here.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A page without navigation, for a visitor who has not signed in.
pub(crate) fn plain(
    site: &Site,
    brand: &Brand,
    base: &str,
    status: StatusCode,
    title: &str,
    content: &Markup,
) -> Response {
    let body = html! {
        header.top { (home_link(site, brand, base)) }
        main #content { div.card.sign-in { h1 { (title) } (content) } }
    };
    html_response(status, document(site, brand, base, title, &body))
}

/// The page of an error.
pub(crate) fn error(site: &Site, brand: &Brand, base: &str, error: &PageError) -> Response {
    let home = format!("{base}{}", site.audience.home());
    let home = if home.is_empty() {
        "/".to_owned()
    } else {
        home
    };
    let title = match error.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        status if status.is_server_error() => "Something is wrong on our side",
        _ => "That did not work",
    };
    plain(
        site,
        brand,
        base,
        error.status,
        title,
        &html! {
            p { (visible(&error.message)) "." }
            p { a href=(home) { "To the first page" } }
        },
    )
}

/// Leads the browser to another page after a form.
pub(crate) fn redirect(url: &str) -> Response {
    let url = if url.is_empty() { "/" } else { url };
    match HeaderValue::try_from(url) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The result of an action, which the next page tells. The words are ours: nothing of the URL is shown but a number.
const NOTICES: &[(&str, &str)] = &[
    ("created", "Created."),
    ("saved", "Saved."),
    ("deleted", "Deleted."),
    ("enabled", "Enabled."),
    (
        "disabled",
        "Disabled. What is waiting ends as failed, and can be retried once it is enabled again.",
    ),
    (
        "rotated",
        "The secret was rotated. The previous one signs beside it for 24 hours.",
    ),
    ("subscribed", "The subscriptions were saved."),
    ("retried", "Queued again. It is due at once."),
    ("retried-all", "Deliveries queued again: "),
    (
        "retried-some",
        "Not all were done in time; repeat it for the rest. Deliveries queued again so far: ",
    ),
    ("test-sent", "The test event is queued."),
    ("resent", "Queued as a new delivery of the same event."),
    ("triggered", "Triggered. Deliveries queued: "),
];

fn notice(view: &View) -> Markup {
    let word = view.query.get("done");
    let found = NOTICES.iter().find(|(name, _)| *name == word);
    let count: Option<u64> = view.query.get("count").parse().ok();
    html! {
        @if let Some((_, text)) = found {
            div.notice.good role="status" { (text) @if let Some(count) = count { (count) } }
        }
    }
}

/// The token that makes a form ours.
pub(crate) fn token(view: &View) -> Markup {
    html! { input type="hidden" name=(TOKEN_FIELD) value=(view.form_token); }
}

/// A form with nothing but a button.
pub(crate) fn button(view: &View, path: &str, class: &str, text: &str) -> Markup {
    html! {
        form method="post" action=(view.url(path)) { (token(view)) button class=(class) type="submit" { (text) } }
    }
}

/// A page that asks before something that cannot be undone.
pub(crate) fn confirm(
    view: &View,
    title: &str,
    consequences: &Markup,
    action: &str,
    back: &str,
) -> Response {
    page(
        view,
        title,
        &html! {
            h1 { (visible(title)) }
            div.card {
                (consequences)
                form method="post" action=(view.url(action)) {
                    (token(view))
                    div.actions {
                        button.danger type="submit" name="confirmed" value="yes" { (visible(title)) }
                        a.button href=(view.url(back)) { "Cancel" }
                    }
                }
            }
        },
    )
}

/// A table that scrolls by itself where the page is narrow.
pub(crate) fn table(label: &str, head: &[&str], rows: &[Markup]) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody { @for row in rows { tr { (row) } } }
            }
        }
    }
}

/// One field of a form.
pub(crate) fn field(name: &str, label: &str, input: &Markup, hint: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            (input)
            @if !hint.is_empty() { p.hint { (hint) } }
        }
    }
}

/// A field of one line.
pub(crate) fn text_field(name: &str, label: &str, value: &str, hint: &str) -> Markup {
    let input = html! { input type="text" id=(name) name=(name) value=(value); };
    field(name, label, &input, hint)
}

/// A box to check.
pub(crate) fn check(name: &str, value: &str, is_checked: bool, label: &Markup) -> Markup {
    html! {
        label.check { input type="checkbox" name=(name) value=(value) checked[is_checked]; span { (label) } }
    }
}

/// All labels of one thing.
pub(crate) fn all_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Markup {
    html! { @for (key, value) in labels { code { (cut(key, 300)) "=" (cut(value, 1_500)) } " " } }
}

/// The rows of a list that the page from that place on shows, and whether there are more.
pub(crate) fn page_of<T>(rows: &[T], from: u64, len: u64) -> (&[T], bool) {
    let place = |number: u64| usize::try_from(number).map_or(rows.len(), |it| it.min(rows.len()));
    let (first, end) = (place(from), place(from.saturating_add(len)));
    (&rows[first..end], end < rows.len())
}

/// Links to the pages of a list before and after the one that begins with `from`.
pub(crate) fn turns(
    (from, len, has_more): (u64, u64, bool),
    (before, after): (&str, &str),
    link: impl Fn(u64) -> String,
) -> Markup {
    html! {
        div.actions {
            @if from > 0 { a.button href=(link(from.saturating_sub(len))) { (before) } }
            @if has_more { a.button href=(link(from.saturating_add(len))) { (after) } }
        }
    }
}

/// Tells a form that it has a box for that id: one that is not checked is not sent.
pub(crate) fn shown(name: &str, id: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(id); }
}

/// The state of a delivery.
pub(crate) fn status_badge(status: DeliveryStatus) -> Markup {
    let (class, text) = match status {
        DeliveryStatus::Delivered => ("badge good", "Delivered"),
        DeliveryStatus::Delivering => ("badge wait", "In flight"),
        DeliveryStatus::Pending => ("badge wait", "Pending"),
        DeliveryStatus::ScheduledRetry => ("badge wait", "Retrying"),
        DeliveryStatus::Failed => ("badge bad", "Failed"),
        DeliveryStatus::DeadLetter => ("badge bad", "Dead letter"),
    };
    html! { span class=(class) { (text) } }
}

/// Labels as a list shows them.
pub(crate) fn labels(metadata: &Metadata) -> Markup {
    html! { @for (key, value) in metadata.as_map() { code { (cut(key, 40)) "=" (cut(value, 100)) } " " } }
}

/// A state in a word.
pub(crate) fn badge(class: &str, text: &str) -> Markup {
    html! { span class={ "badge " (class) } { (text) } }
}
