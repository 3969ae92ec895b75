//! What runs inside the server, each as one transaction.

use redis::{Cmd, Pipeline, Script};

/// Every script, with the hash that the server knows it by.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) commit: Lua,
    pub(crate) open: Lua,
    pub(crate) renew: Lua,
    pub(crate) mail: Lua,
    pub(crate) row: Lua,
    pub(crate) set_row: Lua,
    pub(crate) read: Lua,
    pub(crate) directory: Lua,
    pub(crate) schema: Lua,
}

#[derive(Debug)]
pub(crate) struct Lua {
    pub(crate) name: &'static str,
    source: &'static str,
    hash: String,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            commit: Lua::new("a commit", include_str!("scripts/commit.lua")),
            open: Lua::new("an opening", include_str!("scripts/open.lua")),
            renew: Lua::new("a renewal", include_str!("scripts/renew.lua")),
            mail: Lua::new("a letter", include_str!("scripts/mail.lua")),
            row: Lua::new("reading a row", include_str!("scripts/row.lua")),
            set_row: Lua::new("changing a row", include_str!("scripts/set_row.lua")),
            read: Lua::new("reading a slot", include_str!("scripts/read.lua")),
            directory: Lua::new("reading the directory", include_str!("scripts/directory.lua")),
            schema: Lua::new("reading the schema", include_str!("scripts/schema.lua")),
        }
    }

    /// All, for a server that may not know any.
    pub(crate) fn load(&self) -> Pipeline {
        let mut all = redis::pipe();
        let Self { commit, open, renew, mail, row, set_row, read, directory, schema } = self;
        for script in [commit, open, renew, mail, row, set_row, read, directory, schema] {
            all.add_command(script.load()).ignore();
        }
        all
    }
}

impl Lua {
    fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, hash: Script::new(source).get_hash().to_owned() }
    }

    /// A call; arguments are still to be added.
    pub(crate) fn call(&self, keys: &[String]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.hash).arg(keys.len()).arg(keys);
        cmd
    }

    /// For a server that doesn't know it yet.
    pub(crate) fn load(&self) -> Cmd {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(self.source);
        cmd
    }
}
