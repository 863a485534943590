//! Signing in and out.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use nahook_http::client_address;

use crate::error::PageError;
use crate::form::Fields;
use crate::page::{self, redirect};
use crate::request::{base_of, check_origin, read_strangers_form};
use crate::session;
use crate::sign_ins::FAILURES_WITHIN;
use crate::site::{Audience, Site};
use crate::view::View;

/// Answers a request for a page by a visitor who has not signed in.
pub(crate) fn ask(site: &Arc<Site>, base: &Arc<str>, head: &Parts) -> Response {
    match site.audience {
        Audience::Operators => redirect(&format!("{base}/sign-in")),
        Audience::Customers => {
            let _ = head;
            page::plain(
                site,
                &site.settings.brand,
                base,
                StatusCode::UNAUTHORIZED,
                "Your session has ended",
                &html! {
                    p { "Open the webhooks page again from the application that led you here." }
                },
            )
        }
    }
}

/// The form, or what a link leads to: a page with one button, so that a program that looks at the link does not use it up.
pub(crate) async fn form(State(site): State<Arc<Site>>, request: Request) -> Response {
    let base = base_of(request.extensions(), request.uri().path());
    let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let body = match query.some("link") {
        Some(code) => html! {
            p { "This link signs you in to the dashboard, once." }
            form method="post" action={ (base) "/sign-in" } {
                input type="hidden" name="link" value=(code);
                button.main type="submit" { "Open the dashboard" }
            }
        },
        None => token_form(&base, None),
    };
    page::plain(
        &site,
        &site.settings.brand,
        &base,
        StatusCode::OK,
        "Sign in",
        &body,
    )
}

fn token_form(base: &str, problem: Option<&str>) -> Markup {
    html! {
        @if let Some(problem) = problem {
            div.notice.bad role="alert" { strong { "Not signed in" } (problem) }
        }
        form method="post" action={ (base) "/sign-in" } {
            // For password managers, which ask for a name.
            input type="text" name="username" value="nahook" autocomplete="username" hidden;
            div.field {
                label for="token" { "Management token" }
                input #token type="password" name="token" autocomplete="current-password" required aria-describedby="token-hint";
                p.hint #token-hint { "It begins with " code { "nhm_" } ". The server showed one at its first start; "
                    code { "nahook tokens create" } " makes another." }
            }
            button.main type="submit" { "Sign in" }
        }
    }
}

/// Signs in with a token or by a link.
pub(crate) async fn submit(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let base = base_of(&head.extensions, head.uri.path());
    if let Err(error) = check_origin(&head.headers) {
        return error.into_response();
    }
    // An app that serves by axum may tell it, too.
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| peer.ip());
    let address = client_address(&head.extensions).or(peer);
    if !site.sign_ins.may_try(address, site.now()) {
        let problem = "There were too many attempts from your address. Try again in five minutes.";
        let body = token_form(&base, Some(problem));
        let mut refused = page::plain(
            &site,
            &site.settings.brand,
            &base,
            StatusCode::TOO_MANY_REQUESTS,
            "Sign in",
            &body,
        );
        let wait = HeaderValue::from(FAILURES_WITHIN.as_secs());
        refused.headers_mut().insert(header::RETRY_AFTER, wait);
        return refused;
    }
    let form = match read_strangers_form(body).await {
        Ok(form) => form,
        Err(error) => return error.into_response(),
    };
    let signed_in = match form.some("link") {
        Some(code) => site.sign_in_with_link(&code).await,
        None => site.sign_in_with_token(form.get("token").trim()).await,
    };
    match signed_in {
        Err(error) => PageError::from(error).into_response(),
        Ok(Some(secret)) => enter(&site, &base, &secret),
        Ok(None) => {
            site.sign_ins.note_failure(address, site.now());
            let problem = if form.is_set("link") {
                "This link was used before, or is older than ten minutes. Sign in with a management token."
            } else {
                "There is no such token, or it is disabled or revoked."
            };
            let body = token_form(&base, Some(problem));
            page::plain(
                &site,
                &site.settings.brand,
                &base,
                StatusCode::UNAUTHORIZED,
                "Sign in",
                &body,
            )
        }
    }
}

/// Opens the portal with the code of a portal session, which is used up.
pub(crate) async fn open_portal(site: &Site, base: &str, code: &str) -> Response {
    match site.sign_in_with_code(code).await {
        Err(error) => PageError::from(error).into_response(),
        Ok(Some(secret)) => enter(site, base, &secret),
        Ok(None) => page::plain(
            site,
            &site.settings.brand,
            base,
            StatusCode::UNAUTHORIZED,
            "This link has ended",
            &html! {
                p { "It can be used once, within five minutes. Open the webhooks page again from the application that led you here." }
            },
        ),
    }
}

fn enter(site: &Site, base: &str, secret: &str) -> Response {
    let mut response = redirect(&format!("{base}{}", site.audience.home()));
    if let Ok(cookie) = HeaderValue::try_from(session::set_cookie(site, secret)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Ends the session, or all of its holder's.
pub(crate) async fn sign_out(view: View) -> Result<Response, PageError> {
    let everywhere = view.form.is_set("everywhere");
    view.site.sign_out(&view.visitor, everywhere).await?;
    let site = &view.site;
    let mut response = page::plain(
        site,
        &view.brand,
        &view.base,
        StatusCode::OK,
        "Signed out",
        &html! {
            @if view.is_customer() {
                p { "You can close this page." }
            } @else {
                p { a href={ (view.base) "/sign-in" } { "Sign in again" } }
            }
        },
    );
    if let Ok(cookie) = HeaderValue::try_from(session::clear_cookie(site)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
