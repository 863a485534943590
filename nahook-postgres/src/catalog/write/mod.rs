//! Writing what is to change, row by row but many at a time.

mod audit;
mod put;
mod remove;
mod subscription;

use nahook_control::{CatalogError, Change, ManifestError, Record, Verb};
use nahook_core::Timestamp;
use nahook_core::id::WorkspaceId;

use super::Failure;
use crate::error::PgError;
use crate::lender::{Asked, Frame, Lent};
use crate::parameter::Parameter;

pub(crate) use self::audit::tell as tell_audit;

/// Upper bound on statements in flight at once.
const PIPELINE: usize = 256;

/// A statement with its parameters. It writes one row, and what follows from that; none where a row that it refers to
/// is missing.
pub(crate) struct Write {
    pub(crate) statement: &'static str,
    pub(crate) parameters: Vec<Box<dyn Parameter + Send>>,
}

/// A statement, and its parameters in their order.
macro_rules! write_of {
    ($statement:expr, $($parameter:expr),+ $(,)?) => {
        $crate::catalog::write::Write {
            statement: $statement,
            parameters: vec![$(Box::new($parameter)),+],
        }
    };
}
pub(crate) use write_of;

/// Builds the notifications by which every process learns, after the commit, that these workspaces have changed.
pub(crate) fn tell_of_changes<'a>(
    channel: &str,
    workspaces: impl IntoIterator<Item = &'a WorkspaceId>,
) -> Write {
    let workspaces: Vec<_> = workspaces.into_iter().map(ToString::to_string).collect();
    write_of!(
        "SELECT pg_notify($1, 'c' || id) FROM unnest($2::text[]) AS id",
        channel.to_owned(),
        workspaces,
    )
}

/// Writes the changes, in their order, and then what else there is to write.
pub(crate) async fn write(
    lent: &mut Lent,
    changes: &[Change],
    further: Vec<Write>,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut writes = Vec::with_capacity(changes.len() + further.len());
    for change in changes {
        let write = match change.verb {
            Verb::Create | Verb::Update => put::statement(change.verb, &change.record),
            Verb::Remove => {
                remove::statement(&change.record, now).ok_or_else(|| taken(&change.record))?
            }
        };
        writes.push((Some(change), write));
    }
    writes.extend(further.into_iter().map(|write| (None, write)));
    for chunk in writes.chunks(PIPELINE) {
        write_chunk(lent, chunk).await?;
    }
    Ok(())
}

async fn write_chunk(lent: &mut Lent, writes: &[(Option<&Change>, Write)]) -> Result<(), Failure> {
    let asked: Vec<Asked<'_>> = writes
        .iter()
        .map(|(_, write)| (write.statement, borrowed(&write.parameters)))
        .collect();
    let written = lent.ask(&asked, Frame::default()).await?;
    for ((change, _), written) in writes.iter().zip(written) {
        let written = written.map(|answer| answer.count).map_err(PgError::from);
        match change {
            Some(change) => check(change.verb, &change.record, written)?,
            None => drop(written?),
        }
    }
    Ok(())
}

/// Parameters as they are asked with.
pub(crate) fn borrowed(parameters: &[Box<dyn Parameter + Send>]) -> Vec<&dyn Parameter> {
    parameters.iter().map(|value| &**value as _).collect()
}

fn check(verb: Verb, record: &Record, written: Result<u64, PgError>) -> Result<(), Failure> {
    match (verb, written) {
        (Verb::Update | Verb::Remove, Ok(0)) => {
            Err(CatalogError::NotFound(record.described().0).into())
        }
        // Its id is that of a row that is there; what it refers to was there when it was decided, under the lock.
        (Verb::Create, Ok(0)) => Err(taken(record)),
        (_, Ok(_)) => Ok(()),
        (_, Err(error)) if error.is_taken() => Err(taken(record)),
        (_, Err(error)) => Err(error.into()),
    }
}

fn taken(record: &Record) -> Failure {
    CatalogError::Manifest(ManifestError::taken(record)).into()
}
