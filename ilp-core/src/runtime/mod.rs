//! The connector on the caller's tokio runtime: builder, driver, and the seam to sockets.
//!
//! One task drives each worker and all its connections. Endpoints (listeners, diallers) run beside it and hand connections over; the
//! embedder's receiver runs in futures of the driver's own, a bounded number of them. There are no globals: any number of
//! connectors can live in one process.

mod allowance;
mod builder;
mod clock;
mod connection;
mod connector;
mod driver;
mod events;
mod hub;
mod notice;
mod ready;
mod sockets;
mod supervisor;
mod transport;

pub use builder::{ConnectorBuilder, StartError};
pub use clock::{Clock, SystemClock};
pub use connection::ConnectionStatus;
pub use connector::{Connector, PayError, Status, StopReport, Stopped};
pub use hub::{Colleagues, Inbox};
pub use notice::Notice;
pub(crate) use notice::Notices;
pub use sockets::{SocketColleagues, SocketOptions};
pub use transport::{Connections, Door, Endpoint, NewConnection, Traffic, Transport, TransportError};
