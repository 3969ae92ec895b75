//! SIGHUP: certificates and keys read again.

use super::Log;
use crate::config::{self, Checked, Config};
use crate::show::counted;
use ilp_core::Tokens;
use std::path::Path;

/// Takes certificates and keys from their files again; connections that are there go on with what they have. All of them, or none.
pub(super) fn reload(config: &Config, tokens: &Tokens, places: &[String], file: &Path, log: &Log) {
    let Checked { config: again, problems } = config::load(file, &|name| std::env::var_os(name));
    for problem in problems.to_string().lines() {
        log.line(problem);
    }
    let Some(mut again) = again else {
        log.line("SIGHUP: the certificates stay as they were");
        return;
    };
    let (mut listeners, mut dialled, mut pinned) = (0, 0, 0);
    for (listen, place) in config.listen.iter().zip(places) {
        let Some(tls) = &listen.tls else { continue };
        // Each stands for one, in the order of the file: several may ask for any free port.
        let same = again.listen.iter().position(|other| other.url == listen.url && other.parallelism == listen.parallelism);
        if let Some(with) = same.map(|same| again.listen.remove(same)).and_then(|same| same.tls) {
            tls.config.replace(&with.config);
            log.line(format_args!("SIGHUP: the certificate on {place} is {}", with.certificate));
            listeners += 1;
        }
    }
    for account in &config.accounts {
        let id = &account.config.id;
        let Some(same) = again.accounts.iter().find(|other| other.config.id == *id) else { continue };
        match (&account.dial, &same.dial) {
            (Some(dial), Some(with)) => {
                dial.tls.replace(&with.tls);
                dialled += usize::from(dial.url.is_tls());
            }
            (None, None) => {
                let (login, token) = (account.login.as_bytes(), account.token.as_bytes());
                tokens.insert_with_certificate(login, id.clone(), account.config.protocol, token, same.certificate);
                pinned += usize::from(same.certificate.is_some());
            }
            _ => {}
        }
    }
    log.line(format_args!(
        "SIGHUP: certificates read again for {}, {} that we dial and {}; nothing else is",
        counted(listeners, "listener"),
        counted(dialled, "peer"),
        counted(pinned, "pinned account"),
    ));
}
