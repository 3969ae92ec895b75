//! What a certificate says of itself, for people and for pins.

use super::{TlsError, certificates_from_pem};
use ilp_oer::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};
use std::fmt::{self, Display};
use std::net::IpAddr;

/// What a certificate says of itself. Nothing of it is verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The DNS names and addresses that it is for; if it has none, the common names of its subject.
    pub names: Vec<String>,
    /// It isn't valid before …
    pub from: Timestamp,
    /// … and after.
    pub until: Timestamp,
    /// The SHA-256 of its public key (RFC 5280's SubjectPublicKeyInfo, DER): what a peer can be pinned to. It stays the same when
    /// the certificate is renewed with the same key, and whoever can use it holds that key.
    pub key_sha256: [u8; 32],
}

impl Certificate {
    /// The first certificate in a PEM text.
    ///
    /// # Errors
    /// If the text holds no certificate, or one that can't be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let first = certificates_from_pem(pem)?.into_iter().next().ok_or(TlsError::NoCertificate)?;
        let key_sha256 = key_sha256(&first)?;
        let about = About::read(&first).ok_or(rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
        Ok(Self { names: about.names(), from: about.from, until: about.until, key_sha256 })
    }
}

/// On one line: names, dates, key.
impl Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = if self.names.is_empty() { "nobody by name".to_owned() } else { self.names.join(", ") };
        write!(f, "for {names}, valid until {}, key sha256:", self.until)?;
        self.key_sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The SHA-256 of a certificate's SubjectPublicKeyInfo.
pub(in crate::ws) fn key_sha256(certificate: &CertificateDer<'_>) -> Result<[u8; 32], rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Sha256::digest(parsed.subject_public_key_info()).into())
}

/// The parts that rustls doesn't give, read from the DER by RFC 5280, §4.1. For certificates of our own only, to show them.
struct About<'a> {
    from: Timestamp,
    until: Timestamp,
    subject: &'a [u8],
    extensions: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] version` and `[3] extensions` of a certificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[2] dNSName` and `[7] iPAddress` of a general name.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

impl<'a> About<'a> {
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let signed = inner(inner(certificate, SEQUENCE)?, SEQUENCE)?;
        let mut fields = Values(signed).filter(|(tag, _)| *tag != VERSION);
        // Before the dates come the serial number, the signature's algorithm and the issuer.
        let (_, dates) = fields.nth(3)?;
        let (_, subject) = fields.next()?;
        let extensions = fields.find(|(tag, _)| *tag == EXTENSIONS).map_or(&[][..], |(_, extensions)| extensions);
        let mut dates = Values(dates);
        Some(Self { from: time(dates.next()?)?, until: time(dates.next()?)?, subject, extensions })
    }

    fn names(&self) -> Vec<String> {
        let names = self.alternative_names().unwrap_or_default();
        if names.is_empty() { self.common_names() } else { names }
    }

    fn alternative_names(&self) -> Option<Vec<String>> {
        let mut extensions = Values(inner(self.extensions, SEQUENCE)?);
        let (_, extension) = extensions.find(|(_, extension)| Values(extension).next().is_some_and(|(_, oid)| oid == SUBJECT_ALT_NAME))?;
        let (_, value) = Values(extension).find(|(tag, _)| *tag == OCTET_STRING)?;
        let names = Values(inner(value, SEQUENCE)?).filter_map(|(tag, name)| match tag {
            DNS_NAME => Some(String::from_utf8_lossy(name).into_owned()),
            IP_ADDRESS => {
                let v4 = <[u8; 4]>::try_from(name).map(IpAddr::from);
                v4.or_else(|_| <[u8; 16]>::try_from(name).map(IpAddr::from)).ok().map(|address| address.to_string())
            }
            _ => None,
        });
        Some(names.collect())
    }

    fn common_names(&self) -> Vec<String> {
        let parts = Values(self.subject).flat_map(|(_, set)| Values(set));
        let named = parts.filter_map(|(_, part)| {
            let mut fields = Values(part);
            fields.next().filter(|(_, oid)| *oid == COMMON_NAME)?;
            fields.next().map(|(_, name)| String::from_utf8_lossy(name).into_owned())
        });
        named.collect()
    }
}

/// DER values one after the other, each with its tag; ends at the first one that is damaged.
struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (len, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            // Three digits make 16 MB.
            if digits.len() > 3 {
                return None;
            }
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((*tag, value))
    }
}

/// The contents of a value that has this tag.
fn inner(der: &[u8], tag: u8) -> Option<&[u8]> {
    Values(der).next().filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
}

/// `YYMMDDHHMMSSZ` up to 2049, `YYYYMMDDHHMMSSZ` from then on.
fn time((tag, digits): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    let text = match tag {
        UTC_TIME if text.get(..1)? < "5" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    Timestamp::parse_wire(format!("{text}.000Z").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Result<Certificate, Box<dyn std::error::Error>> {
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        change(&mut params);
        let pem = params.self_signed(&rcgen::KeyPair::generate()?)?.pem();
        Ok(Certificate::from_pem(pem.as_bytes())?)
    }

    #[test]
    fn names_and_dates_are_those_of_the_certificate() -> Result<(), Box<dyn std::error::Error>> {
        let found = certificate(|params| {
            params.subject_alt_names =
                vec![rcgen::SanType::IpAddress([127, 0, 0, 1].into()), rcgen::SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into())];
            params.subject_alt_names.extend("ann.example".try_into().map(rcgen::SanType::DnsName));
            params.not_before = rcgen::date_time_ymd(2024, 2, 29);
            params.not_after = rcgen::date_time_ymd(2050, 1, 1);
        })?;
        assert_eq!(found.names, ["127.0.0.1", "::1", "ann.example"]);
        assert_eq!(found.from.to_string(), "2024-02-29T00:00:00.000Z");
        assert_eq!(found.until.to_string(), "2050-01-01T00:00:00.000Z");
        let shown = found.to_string();
        assert!(shown.starts_with("for 127.0.0.1, ::1, ann.example, valid until 2050-01-01T00:00:00.000Z, key sha256:"), "{shown}");
        Ok(())
    }

    #[test]
    fn a_certificate_without_alternative_names_is_called_by_its_subject() -> Result<(), Box<dyn std::error::Error>> {
        let found = certificate(|params| params.distinguished_name.push(rcgen::DnType::CommonName, "ann"))?;
        assert!(found.names.iter().any(|name| name == "ann"), "{found:?}");
        Ok(())
    }

    #[test]
    fn the_key_is_the_same_in_a_renewed_certificate_and_another_in_anothers() -> Result<(), Box<dyn std::error::Error>> {
        let (key, other) = (rcgen::KeyPair::generate()?, rcgen::KeyPair::generate()?);
        let of = |name: &str, key: &rcgen::KeyPair| -> Result<[u8; 32], Box<dyn std::error::Error>> {
            let pem = rcgen::CertificateParams::new([name.to_owned()])?.self_signed(key)?.pem();
            Ok(Certificate::from_pem(pem.as_bytes())?.key_sha256)
        };
        assert_eq!(of("a.example", &key)?, of("b.example", &key)?);
        assert_ne!(of("a.example", &key)?, of("a.example", &other)?);
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert_eq!(of("a.example", &key)?, <[u8; 32]>::from(Sha256::digest(spki)));
        Ok(())
    }

    #[test]
    fn damaged_der_is_refused_and_never_read_past_its_end() {
        for der in [&[][..], &[0x30], &[0x30, 0x80], &[0x30, 0x84, 0, 0, 0, 1], &[0x30, 0x82, 0xff, 0xff, 1], &[0x30, 2, 0x30, 5]] {
            assert!(About::read(der).is_none(), "{der:?}");
        }
        assert!(Certificate::from_pem(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").is_err());
    }
}
