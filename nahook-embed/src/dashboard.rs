//! The pages as routes.

use std::sync::Arc;

use axum::Router;
use nahook_dashboard::{Access, PagePorts, PageSettings, dashboard_router_with, portal_router};
use nahook_http::ManagementSettings;

use crate::{Backend, Hooks};

impl Backend {
    /// The back end of the pages. Sessions of the portal have URLs that begin with the settings' one.
    pub fn page_ports(&self, settings: ManagementSettings) -> PagePorts {
        PagePorts {
            api: self.management_api(settings),
            counts: Arc::clone(&self.counts),
            endpoints: Arc::clone(&self.endpoints),
            events: Arc::clone(&self.event_search),
            sessions: Arc::clone(&self.sessions),
            operations: None,
        }
    }
}

impl Hooks {
    /// The dashboard, to be nested into the app's own router, behind the app's own authentication.
    ///
    /// ```
    /// use axum::http::request::Parts;
    /// use nahook_embed::Hooks;
    /// use nahook_embed::pages::{Access, Operator, PageSettings};
    ///
    /// struct Staff(Hooks);
    ///
    /// #[async_trait::async_trait]
    /// impl Access for Staff {
    ///     async fn operator(&self, request: &Parts) -> Option<Operator> {
    ///         // The app's own session, of whatever kind.
    ///         let user = request.headers.get("x-user")?.to_str().ok()?;
    ///         Some(Operator {
    ///             workspace: self.0.workspace_id(),
    ///             id: user.to_owned(),
    ///             label: user.to_owned(),
    ///         })
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hooks = Hooks::open("memory://").await?;
    /// let dashboard = hooks.dashboard(PageSettings::default(), Staff(hooks.clone()));
    /// let app: axum::Router = axum::Router::new().nest("/admin/webhooks", dashboard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn dashboard(&self, settings: PageSettings, access: impl Access + 'static) -> Router {
        let ports = self.page_ports("/portal");
        dashboard_router_with(ports, settings, access)
    }

    /// The portal of the app's customers, to be nested into the app's own router. `url` is the URL that it is then reached by; a session
    /// is made with [`Management::create_portal_session`](nahook_control::Management::create_portal_session), and its code opens
    /// `url?code=`.
    pub fn portal(&self, settings: PageSettings, url: &str) -> Router {
        portal_router(self.page_ports(url), settings)
    }

    fn page_ports(&self, portal_url: &str) -> PagePorts {
        self.shared.backend.page_ports(ManagementSettings {
            portal_url: portal_url.to_owned(),
            ..ManagementSettings::default()
        })
    }
}
