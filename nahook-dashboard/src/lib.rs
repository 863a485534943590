#![doc = include_str!("../README.md")]

mod access;
mod assets;
mod backlog;
mod brand;
mod chart;
mod error;
mod form;
mod guard;
mod looks;
mod page;
mod pages;
mod request;
mod session;
mod sign_in;
mod sign_ins;
mod site;
mod text;
mod view;

use axum::Router;

pub use self::access::{Access, Operator};
pub use self::brand::{Accent, Brand};
pub use self::session::{SIGN_IN_LINK_LASTS, new_sign_in_link};
use self::site::{Audience, Site};
pub use self::site::{PagePorts, PageSettings};

/// The method and path, within the dashboard, of every page that takes signing in. For tests.
#[doc(hidden)]
pub fn dashboard_pages() -> Vec<(&'static str, &'static str)> {
    pages::list(Audience::Operators)
}

/// The same of the portal.
#[doc(hidden)]
pub fn portal_pages() -> Vec<(&'static str, &'static str)> {
    pages::list(Audience::Customers)
}

/// The dashboard of operators, to be nested at any path. Whoever signs in needs a management token, or a
/// [link](new_sign_in_link).
pub fn dashboard_router(ports: PagePorts, settings: PageSettings) -> Router {
    pages::router(Site::new(ports, settings, Audience::Operators))
}

/// The dashboard of one workspace behind an app's own authentication: `access` says which requests are an operator's.
pub fn dashboard_router_with(
    ports: PagePorts,
    settings: PageSettings,
    access: impl Access + 'static,
) -> Router {
    let site = Site::new(ports, settings, Audience::Operators);
    pages::router(site.with_access(access))
}

/// The portal of the workspace's customers, to be nested at any path. Its URL with `?code=` and the code of a portal session opens
/// the session, once.
pub fn portal_router(ports: PagePorts, settings: PageSettings) -> Router {
    pages::router(Site::new(ports, settings, Audience::Customers))
}
