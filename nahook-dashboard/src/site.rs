//! Everything that the pages of one audience share.

use std::fmt;
use std::sync::Arc;

use nahook_control::{EndpointDirectory, SessionStore};
use nahook_http::{ManagementApi, Operations};
use nahook_queue::{DeliveryCounts, EventSearch};

use crate::access::Access;
use crate::assets::Assets;
use crate::backlog::Backlogs;
use crate::brand::Brand;
use crate::looks::Looks;
use crate::sign_ins::SignIns;

/// The back end of the pages.
#[derive(Clone)]
pub struct PagePorts {
    /// Everything that the Management API can do: the pages do it by the same rules.
    pub api: ManagementApi,
    /// Counts over time.
    pub counts: Arc<dyn DeliveryCounts>,
    /// Health of endpoints.
    pub endpoints: Arc<dyn EndpointDirectory>,
    /// Lists of events.
    pub events: Arc<dyn EventSearch>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Checks that the page of the system shows, if there are any.
    pub operations: Option<Operations>,
}

impl fmt::Debug for PagePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagePorts").finish_non_exhaustive()
    }
}

/// Choices for the pages.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PageSettings {
    /// Name and colour.
    pub brand: Brand,
    /// True if browsers reach the pages by `https` alone: cookies are then never sent without it.
    pub is_secure: bool,
    /// Origins whose pages may frame these, such as `https://app.example.com`; none if empty. It takes `is_secure`.
    pub frame_ancestors: Vec<String>,
    /// What the page of the system shows beside the version, by name.
    pub facts: Vec<(&'static str, String)>,
}

/// The visitors that pages are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Audience {
    Operators,
    Customers,
}

/// The pages' back end and choices.
pub(crate) struct Site {
    pub(crate) ports: PagePorts,
    pub(crate) settings: PageSettings,
    pub(crate) audience: Audience,
    pub(crate) assets: Assets,
    pub(crate) sign_ins: SignIns,
    pub(crate) looks: Looks,
    pub(crate) backlogs: Backlogs,
    /// The app's own authentication, in the place of sessions.
    pub(crate) access: Option<Box<dyn Access>>,
}

impl Site {
    pub(crate) fn new(ports: PagePorts, settings: PageSettings, audience: Audience) -> Self {
        Self {
            assets: Assets::new(&settings.brand),
            ports,
            settings,
            audience,
            sign_ins: SignIns::default(),
            looks: Looks::default(),
            backlogs: Backlogs::default(),
            access: None,
        }
    }

    pub(crate) fn with_access(mut self, access: impl Access + 'static) -> Self {
        self.access = Some(Box::new(access));
        self
    }

    /// The name of the cookie that holds the visitor's secret. Browsers keep `__Host-` cookies to this host and to `https`.
    pub(crate) fn cookie(&self) -> &'static str {
        match (self.audience, self.settings.is_secure) {
            (Audience::Operators, false) => "nahook_dashboard",
            (Audience::Operators, true) => "__Host-nahook_dashboard",
            (Audience::Customers, false) => "nahook_portal",
            (Audience::Customers, true) => "__Host-nahook_portal",
        }
    }

    /// Attributes of that cookie.
    pub(crate) fn cookie_attributes(&self) -> &'static str {
        match (
            self.settings.is_secure,
            self.settings.frame_ancestors.is_empty(),
        ) {
            (false, _) => "Path=/; HttpOnly; SameSite=Lax",
            (true, true) => "Path=/; HttpOnly; SameSite=Lax; Secure",
            // Within another site's page only such a cookie is sent, and only there.
            (true, false) => "Path=/; HttpOnly; SameSite=None; Secure; Partitioned",
        }
    }

    /// The policy that browsers hold the pages to: nothing but what this origin serves, no inline script or style.
    pub(crate) fn content_security_policy(&self) -> String {
        let ancestors = if self.settings.frame_ancestors.is_empty() {
            "'none'".to_owned()
        } else {
            self.settings.frame_ancestors.join(" ")
        };
        format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
        )
    }
}
