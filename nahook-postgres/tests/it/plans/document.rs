//! The document.

use std::fmt::Write as _;

use nahook_testserver::PostgresServer;

use super::tour::Stop;

/// The plans as a page.
pub(crate) fn written(server: &PostgresServer, size: &str, stops: &[Stop]) -> String {
    let version = server.query(&server.url("postgres"), "SHOW server_version");
    let version = version.split(' ').next().unwrap();
    let mut page = format!(
        "# Query plans\n\n\
         Every statement that the store runs while triggers arrive and deliveries go out, as it was run, those inside its functions\n\
         included. Postgres {version} with {size}.\n\n\
         Made, where this crate is, by\n\n\
         ```sh\n\
         NAHOOK_PLANS_DELIVERIES=1000000 NAHOOK_PLANS_SUBSCRIPTIONS=100000 NAHOOK_PLANS_DOCUMENT=docs/query-plans.md \\\n  \
         cargo test -p nahook-postgres --test it plans::\n\
         ```\n\n\
         which starts a server of its own, fills its tables, uses the store, and takes what `auto_explain` says. Without those\n\
         settings it is a test with smaller tables: it fails at a sequential scan, and where more blocks are touched than what is\n\
         asked for explains. Durations are those of one run on a machine with other things to do.\n"
    );
    for stop in stops {
        write!(page, "\n## {}\n", stop.title).unwrap();
        for explained in &stop.explained {
            let (query, plan) = (explained.query(), explained.plan());
            write!(page, "\n```sql\n{query}\n```\n\n```text\n{plan}\n```\n").unwrap();
        }
    }
    page
}
