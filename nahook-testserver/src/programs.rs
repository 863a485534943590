//! Finds Postgres's programs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tools::tool;

/// Names the folder of the server's programs: those of a version that is not the newest one installed, say.
const BINARIES: &str = "NAHOOK_POSTGRES_BIN";

/// The folders of the server's programs and of its clients'.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    server: PathBuf,
    client: PathBuf,
}

impl Programs {
    /// Those that `NAHOOK_POSTGRES_BIN` names, or else of the newest version that is installed.
    ///
    /// Some distributions of the server come without its clients; then an installed version's are used.
    pub(crate) fn find() -> Self {
        let named = env::var_os(BINARIES).map(PathBuf::from);
        let server = match &named {
            Some(folder) if folder.join("initdb").exists() => folder.clone(),
            Some(folder) => panic!("there is no initdb in {BINARIES}={}", folder.display()),
            None => folder_with("initdb"),
        };
        let client = named.filter(|folder| folder.join("psql").exists());
        Self {
            server,
            client: client.unwrap_or_else(|| folder_with("psql")),
        }
    }

    /// Those of Postgres 13, the oldest version that is supported.
    pub(crate) fn oldest() -> Self {
        Self {
            server: tool("postgres-13/bin"),
            client: folder_with("psql"),
        }
    }

    pub(crate) fn of_server(&self, name: &str) -> PathBuf {
        self.server.join(name)
    }

    pub(crate) fn of_client(&self, name: &str) -> PathBuf {
        self.client.join(name)
    }
}

/// Of the newest version that Debian has installed, or else on the path.
fn folder_with(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let installed = versions.filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        Some((number, version.path().join("bin")))
    });
    let holds = |folder: &Path| folder.join(program).exists();
    let newest = installed
        .filter(|(_, folder)| holds(folder))
        .max()
        .map(|(_, folder)| folder);
    newest
        .or_else(|| {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).find(|folder| holds(folder))
        })
        .expect("Postgres is not installed: install Debian's package `postgresql`")
}
