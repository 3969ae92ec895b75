//! Names of the sub-protocols, and the numbers that stand for them in [`Dialect::Seed`](crate::clp::Dialect::Seed).

/// Names, numbers, and both ways between them.
macro_rules! names {
    ($($name:ident $id:ident $text:literal $number:literal $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub const $name: &str = $text;
            #[doc = concat!("The number of [`", stringify!($name), "`].")]
            pub const $id: u8 = $number;
        )*

        /// The number of a sub-protocol, if it has one.
        pub fn number_of(name: &str) -> Option<u8> {
            match name {
                $($name => Some($id),)*
                _ => None,
            }
        }

        /// The name of the sub-protocol of that number.
        pub const fn name_of(number: u8) -> Option<&'static str> {
            match number {
                $($id => Some($name),)*
                _ => None,
            }
        }
    };
}

names! {
    SETUP SETUP_ID "setup" 0 "Authentication, and what both sides can do.";
    ILP ILP_ID "ilp" 1 "Any ILP or ILQP packet.";
    PAYMENT PAYMENT_ID "payment" 2 "ILP payments only.";
    ILQP ILQP_ID "ilqp" 3 "ILQP packets only.";
    RECONCILE RECONCILE_ID "reconcile" 4 "Comparing the books.";
    LIQUIDITY LIQUIDITY_ID "liquidity" 5 "What the asker may still send.";
    TRANSFER TRANSFER_ID "transfer" 128 "In setup: packet type 8 is understood.";
    CCP CCP_ID "ccp" 129 "Announcements of routes; in setup: they are understood.";
}

/// Which address the asker has here; without a number.
pub const INFO: &str = "info";
/// What the answerer owes the asker; without a number.
pub const BALANCE: &str = "balance";
/// Claims about ledger accounts; without a number.
pub const VOUCH: &str = "vouch";

/// The content type of all of them: octets.
pub const OCTETS: u8 = 0;
