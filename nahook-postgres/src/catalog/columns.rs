//! Columns of each kind of row, in the order in which `read` takes them. The workspace's id is given: it comes from a
//! join or from the question.

macro_rules! api_keys {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT k.id, ",
            $workspace,
            ", n.id, e.id, k.name, k.hash, k.state, k.created_at FROM api_key k
            LEFT JOIN environment n ON n.row = k.environment LEFT JOIN endpoint e ON e.row = k.endpoint ",
            $($rest)+
        )
    };
}

macro_rules! applications {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT a.id, ",
            $workspace,
            ", a.external_id, a.name, a.metadata, a.max_endpoints, a.show_event_types, a.created_at, a.updated_at
            FROM application a ",
            $($rest)+
        )
    };
}

macro_rules! endpoints {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT e.id, ",
            $workspace,
            ", n.id, e.url, e.kind, e.config, e.metadata, e.description, e.auth_username, e.auth_password, e.secret,
                e.is_active, e.created_at, e.updated_at, a.id, e.previous_secret, e.previous_secret_until
            FROM endpoint e JOIN environment n ON n.row = e.environment
            LEFT JOIN application a ON a.row = e.application ",
            $($rest)+
        )
    };
}

macro_rules! environments {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT n.id, ",
            $workspace,
            ", n.name, n.slug, n.is_default, n.created_at, n.updated_at FROM environment n ",
            $($rest)+
        )
    };
}

macro_rules! event_types {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT t.id, ",
            $workspace,
            ", t.name, t.description, t.created_at FROM event_type t ",
            $($rest)+
        )
    };
}

macro_rules! management_tokens {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT t.id, ",
            $workspace,
            ", t.name, t.hash, t.state, t.created_at, t.is_read_only FROM management_token t ",
            $($rest)+
        )
    };
}

macro_rules! patterns {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT p.id, ",
            $workspace,
            ", e.id, p.pattern, p.created_at FROM pattern p JOIN endpoint e ON e.row = p.endpoint ",
            $($rest)+
        )
    };
}

macro_rules! publications {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT ",
            $workspace,
            ", n.id, t.id FROM publication p
            JOIN environment n ON n.row = p.environment JOIN event_type t ON t.row = p.event_type ",
            $($rest)+
        )
    };
}

macro_rules! subscribers {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT ",
            $workspace,
            ", t.id, e.id FROM subscription s
            JOIN endpoint e ON e.row = s.endpoint JOIN event_type t ON t.row = s.event_type ",
            $($rest)+
        )
    };
}

macro_rules! subscriptions {
    ($workspace:literal, $($rest:tt)+) => {
        concat!(
            "SELECT s.id, ",
            $workspace,
            ", e.id, t.id, s.created_at FROM subscription s
            JOIN endpoint e ON e.row = s.endpoint JOIN event_type t ON t.row = s.event_type ",
            $($rest)+
        )
    };
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

pub(super) use {
    api_keys, applications, endpoints, environments, event_types, management_tokens, patterns,
    publications, subscribers, subscriptions, workspaces,
};
