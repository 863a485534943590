//! Room of the file, and of its disk, that publishing leaves to settlements.

use std::sync::Arc;

use super::Session;
use crate::error::no_room;
use crate::space::{Disk, Found};

/// Length of a page of the file.
const PAGE_LEN: u64 = 4_096;

/// Upper bound on the room that a fresh delivery's first attempt takes once it is settled, failed or not: the attempt, the
/// delivery's row, and its place in the indexes. Measured: up to 163 bytes, whatever the payload and the width.
const SETTLING_LEN: u64 = 200;

impl Session {
    /// Fails as on a full disk if this transaction, which queues so many deliveries more, leaves too little of the file to
    /// settle everything fresh.
    ///
    /// Otherwise publishing could fill the file, and what became of the deliveries could not be recorded any more.
    pub(crate) fn leave_room_to_settle(&mut self, queued: usize) -> rusqlite::Result<()> {
        self.fresh += queued;
        let Some(pages_max) = self.pages_max() else {
            return Ok(());
        };
        let used = self.pages_in_use()?;
        let owed = self.fresh as u64 * SETTLING_LEN / PAGE_LEN;
        if used + owed > pages_max - pages_max / 4 {
            return Err(no_room());
        }
        Ok(())
    }

    /// Findings on the disk; `None` if the session is bound to no file.
    pub(crate) fn disk(&self) -> Option<Arc<Found>> {
        self.disk.as_ref().map(Disk::found)
    }

    /// Returns true if nothing new is to be queued, for lack of space on the disk.
    pub(crate) fn is_disk_low(&self) -> bool {
        self.disk.as_ref().is_some_and(Disk::is_low)
    }

    /// Looks at the space on the disk.
    pub(in crate::writer) fn look_at_disk(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.look();
        }
    }

    /// Has the WAL checkpointed, because there is no room for it to grow, and releases the reserve. Returns true if there was one, so
    /// that there is room for a little more.
    pub(in crate::writer) fn make_room(&mut self) -> bool {
        if let Some(checkpointer) = &self.checkpointer {
            checkpointer.order();
        }
        // A file that has reached its maximum size says nothing of the disk.
        let is_of_disk = self.pages_max().is_none();
        let disk = self.disk.as_mut().filter(|_| is_of_disk);
        disk.is_some_and(Disk::make_room)
    }

    fn pages_max(&self) -> Option<u64> {
        let (_, settings) = self.file.as_ref()?;
        settings.pages_max.map(u64::from)
    }

    fn pages_in_use(&self) -> rusqlite::Result<u64> {
        let free = self.pragma("freelist_count")?;
        Ok(self.pragma("page_count")?.saturating_sub(free))
    }

    fn pragma(&self, name: &str) -> rusqlite::Result<u64> {
        let value = self
            .connection
            .pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        value.map(u64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{open_writer, set_up_writer};
    use crate::error::is_full;
    use crate::schema::{MIGRATIONS, migrate};
    use crate::{Role, SqliteSettings};

    #[test]
    fn a_quarter_and_what_is_fresh_are_left_to_settlements() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let mut settings = SqliteSettings::server();
        let mut connection = open_writer(&path, &settings).unwrap();
        set_up_writer(&connection, &settings).unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let mut session = Session::new(connection, Role::Server);
        let used = u32::try_from(session.pages_in_use().unwrap()).unwrap();
        // Three quarters of them are for publishing: at least ten more than there are.
        let quarter = (used + 10).div_ceil(3);
        settings.pages_max = Some(4 * quarter);
        let free = 3 * quarter - used;
        // Of 200 bytes each, as long as no further page begins.
        let most = ((free + 1) as usize * 4_096 - 1) / 200;
        session.bind_to_file(&path, &settings).unwrap();
        let mut room = |fresh: usize, queued: &[usize]| {
            session.begin(fresh).unwrap();
            let mut queued = queued.iter();
            let left = queued.try_for_each(|queued| session.leave_room_to_settle(*queued));
            session.roll_back();
            if let Err(error) = &left {
                assert!(is_full(error), "{error:?}");
            }
            left.is_ok()
        };
        assert!(room(0, &[most]) && !room(0, &[most + 1]));
        assert!(room(most, &[0]) && !room(most + 1, &[0]));
        assert!(room(100, &[50, most - 150]) && !room(100, &[50, most - 149]));
    }
}
