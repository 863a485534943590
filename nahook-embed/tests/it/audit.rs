//! The app in the audit log.

use nahook_embed::Hooks;
use nahook_embed::control::{AuditQuery, ManagementStore as _};
use nahook_testkit::run;

#[test]
fn every_change_of_the_app_is_the_apps() {
    run(async {
        let hooks = Hooks::open("memory://").await.unwrap();
        let hooks = hooks.workspace("acme").await.unwrap();
        let endpoint = hooks.create_endpoint("https://customer.example/hooks");
        let endpoint = endpoint.on("order.paid").await.unwrap();
        hooks.disable_endpoint(endpoint.id).await.unwrap();
        let query = AuditQuery {
            limit: 100,
            ..AuditQuery::default()
        };
        let store = &hooks.backend().management;
        let log = store.audit_log(&hooks.workspace_id(), &query).await;
        let log = log.unwrap().entries;
        assert!(log.iter().any(|it| it.action == "workspace.created"));
        assert!(log.iter().any(|it| it.action == "endpoint.updated"));
        assert!(log.iter().all(|it| it.actor.id == "app"), "{log:?}");
    });
}
