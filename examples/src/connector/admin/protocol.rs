//! The requests and answers, as `docs/operating.md` has them.
//!
//! A line is a JSON object with `"v": 1`. Amounts are texts of digits, since JSON numbers aren't safe for them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The version of the protocol. Requests and fields may be added to it; whoever reads an answer leaves out what it doesn't know.
pub const VERSION: u64 = 1;

/// The longest request, in bytes, with its end of line.
pub const REQUEST_LEN_MAX: usize = 16 << 10;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How the connector is. Answered by a [`StatusReport`](crate::connector::report::StatusReport).
    Status {},
    /// Books a settlement. Answered by a [`Settled`] when it is durable.
    Settle {
        /// The account's name.
        account: String,
        /// In its base units; positive if its holder has paid us.
        #[serde(with = "text")]
        amount: i128,
        /// The settlement's own.
        id: String,
    },
    /// Audits the books. Answered by an [`AuditReport`](crate::connector::report::AuditReport).
    Audit {
        /// An account to explain as well.
        #[serde(default)]
        account: Option<String>,
    },
    /// Where each balance lies. Answered by a [`BalancesReport`](crate::connector::report::BalancesReport).
    Balances {},
    /// The transfers that are in flight, and which slot owns each. Answered by a
    /// [`HotSetReport`](crate::connector::report::HotSetReport).
    HotSet {},
    /// Copies the books. Answered by a [`Copied`](crate::connector::report::Copied).
    Backup {
        /// Into which directory, on the connector's machine: an absolute path to one that isn't there or is empty.
        directory: PathBuf,
    },
}

/// A settlement that is in the books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The account's name.
    pub account: String,
    /// What its amounts are in, such as `XRP/6`.
    pub asset: String,
    /// The settlement's amount.
    #[serde(with = "text")]
    pub amount: i128,
    /// Its own name.
    pub id: String,
    /// The account's balance with it.
    #[serde(with = "text")]
    pub balance: i128,
    /// It was there already; nothing has changed.
    pub repeated: bool,
}

/// A request that wasn't done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What kind of refusal it is.
    pub code: Code,
    /// What was wrong, and what to do.
    pub message: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The line isn't a request.
    BadRequest,
    /// The request is of a version that isn't known here.
    Version,
    /// It can't be done: it would be wrong each time.
    Refused,
    /// Others are being answered: ask again later.
    Busy,
    /// Nobody can say whether it was done: ask again, with the same id.
    Unknown,
    /// It couldn't be done now.
    Failed,
}

impl Refused {
    /// A refusal.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Request {
    /// The line, with its end.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        line(&Line { v: VERSION, body: self })
    }

    /// Reads a line.
    pub fn from_line(line: &[u8]) -> Result<Self, Refused> {
        let bad = |error: serde_json::Error| Refused::new(Code::BadRequest, format!("this is not a request: {error}"));
        let mut value: serde_json::Value = serde_json::from_slice(line).map_err(bad)?;
        let version = value.as_object_mut().and_then(|object| object.remove("v"));
        if version.as_ref().and_then(serde_json::Value::as_u64) != Some(VERSION) {
            let found = version.map_or("none".to_owned(), |version| version.to_string());
            let found: String = found.chars().take(40).collect();
            return Err(Refused::new(Code::Version, format!("the version is {found}, and here only \"v\": {VERSION} is known")));
        }
        serde_json::from_value(value).map_err(bad)
    }
}

/// The answer's line, with its end.
pub fn answer_line<T: Serialize>(answer: &Result<T, Refused>) -> serde_json::Result<Vec<u8>> {
    match answer {
        Ok(ok) => line(&Line { v: VERSION, body: Answered { ok } }),
        Err(error) => line(&Line { v: VERSION, body: NotDone { error } }),
    }
}

/// Reads an answer's line.
pub fn read_answer<T: DeserializeOwned>(line: &[u8]) -> serde_json::Result<Result<T, Refused>> {
    #[derive(Deserialize)]
    struct Answer<T> {
        ok: Option<T>,
        error: Option<Refused>,
    }
    let answer: Answer<T> = serde_json::from_slice(line)?;
    match (answer.ok, answer.error) {
        (Some(ok), _) => Ok(Ok(ok)),
        (None, Some(error)) => Ok(Err(error)),
        (None, None) => Err(serde::de::Error::custom("neither ok nor error")),
    }
}

#[derive(Serialize)]
struct Line<T> {
    v: u64,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Answered<T> {
    ok: T,
}

#[derive(Serialize)]
struct NotDone<'a> {
    error: &'a Refused,
}

fn line<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Amounts as texts of digits.
pub mod text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// As decimal digits, with a minus in front of what is below zero.
    pub fn serialize<S: Serializer>(amount: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(amount)
    }

    /// From decimal digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("an amount is a text of digits"))
    }
}

/// Amounts that may not be known, as texts of digits or null.
pub mod text_or_null {
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// As decimal digits, or null.
    pub fn serialize<S: Serializer>(amount: &Option<i128>, serializer: S) -> Result<S::Ok, S::Error> {
        match amount {
            Some(amount) => serializer.collect_str(amount),
            None => serializer.serialize_none(),
        }
    }

    /// From decimal digits, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i128>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(|_| de::Error::custom("an amount is a text of digits"))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_of_json() {
        let settle = Request::Settle { account: "bob".into(), amount: -5, id: "x".into() };
        let line = settle.to_line().unwrap();
        assert_eq!(std::str::from_utf8(&line).unwrap(), "{\"v\":1,\"do\":\"settle\",\"account\":\"bob\",\"amount\":\"-5\",\"id\":\"x\"}\n");
        assert_eq!(Request::from_line(&line), Ok(settle));
        assert_eq!(Request::from_line(b"{\"v\":1,\"do\":\"audit\"}"), Ok(Request::Audit { account: None }));
    }

    #[test]
    fn what_is_no_request_is_refused_by_kind() {
        for (line, code) in [
            (&b""[..], Code::BadRequest),
            (b"\xff\xfe", Code::BadRequest),
            (b"[]", Code::Version),
            (b"{\"do\":\"status\"}", Code::Version),
            (b"{\"v\":2,\"do\":\"status\"}", Code::Version),
            (b"{\"v\":\"1\",\"do\":\"status\"}", Code::Version),
            (b"{\"v\":1}", Code::BadRequest),
            (b"{\"v\":1,\"do\":\"stop\"}", Code::BadRequest),
            (b"{\"v\":1,\"do\":\"status\",\"more\":1}", Code::BadRequest),
            (b"{\"v\":1,\"do\":\"settle\",\"account\":\"bob\",\"amount\":5,\"id\":\"x\"}", Code::BadRequest),
        ] {
            assert_eq!(Request::from_line(line).map_err(|refused| refused.code), Err(code), "{}", String::from_utf8_lossy(line));
        }
        // Deeper than any stack.
        assert!(Request::from_line("[".repeat(REQUEST_LEN_MAX).as_bytes()).is_err());
    }

    #[test]
    fn answers_are_lines_of_json() {
        let refused = Refused::new(Code::Busy, "later");
        let line = answer_line::<u8>(&Err(refused.clone())).unwrap();
        assert_eq!(std::str::from_utf8(&line).unwrap(), "{\"v\":1,\"error\":{\"code\":\"busy\",\"message\":\"later\"}}\n");
        assert_eq!(read_answer::<u8>(&line).unwrap(), Err(refused));
        assert_eq!(read_answer::<u8>(&answer_line(&Ok(7)).unwrap()).unwrap(), Ok(7));
        assert!(read_answer::<u8>(b"{\"v\":1}").is_err());
    }
}
