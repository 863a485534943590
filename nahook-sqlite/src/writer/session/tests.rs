//! What the session remembers of the catalog is never what was undone or changed.

use tempfile::TempDir;

use super::*;
use crate::connection::open_writer;
use crate::schema::{MIGRATIONS, migrate};

/// A session in a transaction, on a file with a workspace.
fn begun() -> (TempDir, Session) {
    let directory = tempfile::tempdir().unwrap();
    let settings = SqliteSettings::server();
    let mut connection = open_writer(&directory.path().join("db"), &settings).unwrap();
    set_up_writer(&connection, &settings).unwrap();
    migrate(&mut connection, MIGRATIONS).unwrap();
    let workspace = "INSERT INTO nahook_workspace (row, id, name, payload_len_max, created_at) VALUES (1, 'ws_a', 'a', 1, 1);
        INSERT INTO nahook_environment (row, id, workspace, name, slug, is_default, created_at, updated_at)
        VALUES (1, 'env_a', 1, 'a', 'a', 1, 1, 1)";
    connection.execute_batch(workspace).unwrap();
    let mut session = Session::new(connection, Role::Server);
    session.begin(0).unwrap();
    (directory, session)
}

/// The row of the endpoint, if the session knows of one.
fn found(session: &mut Session) -> Option<i64> {
    let id = EndpointId::new("ep_a").unwrap();
    session.endpoint(id, 1).unwrap()
}

/// Makes the endpoint, and has the session remember it.
fn make(session: &mut Session) {
    let endpoint = "INSERT INTO nahook_endpoint (row, id, workspace, environment, url, kind, config, metadata, secret, is_active,
            created_at, updated_at)
        VALUES (7, 'ep_a', 1, 1, 'https://a/', 0, '{}', '{}', 's', 1, 1, 1)";
    session.connection().execute_batch(endpoint).unwrap();
    assert_eq!(found(session), Some(7));
}

#[test]
fn endpoint_of_a_transaction_that_is_rolled_back_is_forgotten() {
    let (_directory, mut session) = begun();
    make(&mut session);
    assert!(session.roll_back());
    session.begin(0).unwrap();
    assert_eq!(found(&mut session), None);
}

#[test]
fn endpoint_of_an_attempt_that_is_undone_is_forgotten() {
    let (_directory, mut session) = begun();
    let attempted = session.attempt(|session| {
        make(session);
        Ok(Err::<(), _>("undone"))
    });
    assert_eq!(attempted.unwrap(), Err("undone"));
    assert_eq!(found(&mut session), None);
}

#[test]
fn endpoint_that_the_transaction_has_deleted_is_forgotten() {
    let (_directory, mut session) = begun();
    make(&mut session);
    let deleted = "UPDATE nahook_endpoint SET deleted_at = 2";
    session.connection().execute_batch(deleted).unwrap();
    session
        .touch_catalog([WorkspaceId::new("ws_a").unwrap()])
        .unwrap();
    assert_eq!(found(&mut session), None);
}

/// A second workspace with an endpoint, which the session remembers.
fn make_other(session: &mut Session) {
    let other = "INSERT INTO nahook_workspace (row, id, name, payload_len_max, created_at) VALUES (2, 'ws_b', 'b', 1, 1);
        INSERT INTO nahook_environment (row, id, workspace, name, slug, is_default, created_at, updated_at)
        VALUES (2, 'env_b', 2, 'b', 'b', 1, 1, 1);
        INSERT INTO nahook_endpoint (row, id, workspace, environment, url, kind, config, metadata, secret, is_active,
            created_at, updated_at)
        VALUES (8, 'ep_b', 2, 2, 'https://b/', 0, '{}', '{}', 's', 1, 1, 1)";
    session.connection().execute_batch(other).unwrap();
    assert!(is_remembered(session));
}

/// Returns true if the other workspace's endpoint is found though its row says that it is gone.
fn is_remembered(session: &mut Session) -> bool {
    let delete = "UPDATE nahook_endpoint SET deleted_at = 2 WHERE id = 'ep_b'";
    let id = EndpointId::new("ep_b").unwrap();
    session.endpoint(id, 2).unwrap();
    session.connection().execute_batch(delete).unwrap();
    session.endpoint(id, 2).unwrap().is_some()
}

#[test]
fn rows_of_others_are_remembered_while_a_workspace_changes() {
    let (_directory, mut session) = begun();
    make(&mut session);
    make_other(&mut session);
    let [a, b] = ["ws_a", "ws_b"].map(|id| WorkspaceId::new(id).unwrap());
    session.touch_catalog([a]).unwrap();
    assert!(is_remembered(&mut session));
    // So they are after the commit, and after changes that were refused.
    session.commit().unwrap();
    session.begin(0).unwrap();
    assert!(is_remembered(&mut session));
    let refused = session.attempt(|session| {
        session.touch_catalog([a])?;
        Ok(Err::<(), _>("refused"))
    });
    assert!(refused.unwrap().is_err());
    assert!(is_remembered(&mut session));
    session.touch_catalog([b]).unwrap();
    assert!(!is_remembered(&mut session));
}
