//! Columns of each kind of row, in the order in which `read` takes them. The workspace's id is given: it comes from a
//! join or from the question.

/// Makes a macro of each kind of row: `api_keys!("w.id", "WHERE …")` selects with the workspace's id between these two texts, and
/// the rest after them.
macro_rules! selects {
    ($dollar:tt $($kind:ident $first:literal $then:literal;)+) => {$(
        macro_rules! $kind {
            ($dollar workspace:literal, $dollar($dollar rest:tt)+) => {
                concat!($first, $dollar workspace, $then, $dollar($dollar rest)+)
            };
        }
        pub(super) use $kind;
    )+};
}

selects! { $
    api_keys "SELECT k.id, " ", n.id, e.id, k.name, k.hash, k.state, k.created_at FROM api_key k
        LEFT JOIN environment n ON n.row = k.environment LEFT JOIN endpoint e ON e.row = k.endpoint ";
    applications "SELECT a.id, "
        ", a.external_id, a.name, a.metadata, a.max_endpoints, a.show_event_types, a.created_at, a.updated_at
        FROM application a ";
    endpoints "SELECT e.id, "
        ", n.id, e.url, e.kind, e.config, e.metadata, e.description, e.auth_username, e.auth_password, e.secret,
            e.is_active, e.created_at, e.updated_at, a.id, e.previous_secret, e.previous_secret_until
        FROM endpoint e JOIN environment n ON n.row = e.environment
        LEFT JOIN application a ON a.row = e.application ";
    environments "SELECT n.id, "
        ", n.name, n.slug, n.is_default, n.created_at, n.updated_at FROM environment n ";
    event_types "SELECT t.id, " ", t.name, t.description, t.created_at FROM event_type t ";
    management_tokens "SELECT t.id, "
        ", t.name, t.hash, t.state, t.created_at, t.is_read_only FROM management_token t ";
    patterns "SELECT p.id, "
        ", e.id, p.pattern, p.created_at FROM pattern p JOIN endpoint e ON e.row = p.endpoint ";
    publications "SELECT " ", n.id, t.id FROM publication p
        JOIN environment n ON n.row = p.environment JOIN event_type t ON t.row = p.event_type ";
    subscribers "SELECT " ", t.id, e.id FROM subscription s
        JOIN endpoint e ON e.row = s.endpoint JOIN event_type t ON t.row = s.event_type ";
    subscriptions "SELECT s.id, " ", e.id, t.id, s.created_at FROM subscription s
        JOIN endpoint e ON e.row = s.endpoint JOIN event_type t ON t.row = s.event_type ";
}

macro_rules! workspaces {
    ($($rest:tt)+) => {
        concat!(
            "SELECT w.id, w.name, w.created_at, ",
            $crate::catalog::row::plan_columns!(),
            " FROM workspace w ",
            $($rest)+
        )
    };
}

pub(super) use workspaces;
