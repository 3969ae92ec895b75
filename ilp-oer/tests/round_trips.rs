//! What is written reads back the same, and takes just the bytes announced.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod strategies;

use ilp_oer::clp::{self, Extensions};
use ilp_oer::ilp::{self, ErrorPacket};
use ilp_oer::oer::{self, Reader};
use ilp_oer::sub::{Balance, Info, Liquidity, LiquidityAnswer, ProtocolList, Setup, Vouch, VouchKind};
use ilp_oer::value::{ClpValue, EntryValue, IlpValue, NamedEntry, SeedEntry};
use ilp_oer::{Address, Amount, Condition, ErrorCode, Fulfillment, Timestamp, TransferId};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{Debug, Display};
use std::str::FromStr;
use strategies::*;

proptest! {
    #[test]
    fn ilp_packets(value in ilp_value()) {
        let packet = value.packet();
        let bytes = packet.to_vec().unwrap();
        prop_assert_eq!(bytes.len(), packet.encoded_len());
        prop_assert_eq!(ilp::Packet::packet_type(&bytes), Some(packet.kind()));

        let decoded = ilp::Packet::decode(&bytes).unwrap();
        prop_assert_eq!(decoded, packet);
        // A decoded packet, which borrows, is written the same way again.
        prop_assert_eq!(decoded.to_vec().unwrap(), &bytes[..]);
        prop_assert_eq!(&IlpValue::try_from(decoded).unwrap(), &value);
        json_round_trip(&value);
    }

    #[test]
    fn clp_packets_with_names(value in clp_value::<NamedEntry>()) {
        clp_round_trip(&value);
    }

    #[test]
    fn clp_packets_with_numbers(value in clp_value::<SeedEntry>()) {
        clp_round_trip(&value);
    }

    #[test]
    fn errors_alone_forwarded_and_shortened(value in error_value(), by in address()) {
        let error = value.packet();
        let bytes = error.to_vec().unwrap();
        prop_assert_eq!(ErrorPacket::decode(&bytes).unwrap(), error);
        prop_assert_eq!(ilp::Packet::decode(&bytes).unwrap(), ilp::Packet::Error(error));

        // Without the byte that the ASN.1 doesn't have: the same error.
        let contents = Reader::new(&bytes[1..]).octets().unwrap();
        let mut short = vec![8];
        oer::put_octets(&contents[..contents.len() - 1], &mut short);
        prop_assert_eq!(ErrorPacket::decode(&short).unwrap(), error);

        let mut forwarded = Vec::new();
        error.encode_forwarded(by.as_addr(), &mut forwarded).unwrap();
        prop_assert_eq!(forwarded.len(), error.forwarded_len(by.as_addr()));
        let mut expected = value.clone();
        expected.forwarded_by.push(by);
        prop_assert_eq!(ErrorPacket::decode(&forwarded).unwrap(), expected.packet());

        let shortened = error.shortened().to_vec().unwrap();
        prop_assert!(shortened[1] < 128);
        prop_assert_eq!(ErrorPacket::decode(&shortened).unwrap(), error.shortened());
    }

    #[test]
    fn texts(
        amount in amount(), time in timestamp(), address in address(), code in error_code(), id in transfer_id(),
        condition in condition(), fulfillment in fulfillment(), curve in curve(),
    ) {
        text_round_trip::<Amount>(amount);
        text_round_trip::<Timestamp>(time);
        text_round_trip::<Address>(address);
        text_round_trip::<ErrorCode>(code);
        text_round_trip::<TransferId>(id);
        text_round_trip::<Condition>(condition);
        text_round_trip::<Fulfillment>(fulfillment);
        json_round_trip(&curve);
    }

    #[test]
    fn every_time(time in timestamp()) {
        prop_assert_eq!(Timestamp::parse_wire(&time.write_wire()), Ok(time));
        prop_assert_eq!(Timestamp::from_unix_millis(time.unix_millis()), Ok(time));
    }

    #[test]
    fn times_are_in_the_order_of_their_text(a in timestamp(), b in timestamp()) {
        prop_assert_eq!(a.cmp(&b), a.write_wire().cmp(&b.write_wire()));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(b.saturating_add_millis(a.millis_since(b)), a);
    }

    #[test]
    fn primitives(number in any::<usize>(), shift in 0..64_u32, octets in bytes(), signed in any::<i128>()) {
        let number = number >> shift;
        let mut out = Vec::new();
        oer::put_length(number, &mut out);
        oer::put_count(number, &mut out);
        oer::put_octets(&octets, &mut out);
        out.extend_from_slice(&signed.to_be_bytes());
        out.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let octets_len = oer::octets_len(octets.len());
        prop_assert_eq!(out.len(), oer::length_len(number) + oer::count_len(number) + octets_len + 31);

        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.length().unwrap(), number);
        prop_assert_eq!(reader.count().unwrap(), number);
        prop_assert_eq!(reader.octets().unwrap(), &octets[..]);
        prop_assert_eq!(reader.i128().unwrap(), signed);
        prop_assert_eq!((reader.u8().unwrap(), reader.u16().unwrap()), (1, 0x0203));
        prop_assert_eq!((reader.u32().unwrap(), reader.u64().unwrap()), (0x0405_0607, 0x0809_0a0b_0c0d_0e0f));
        prop_assert!(reader.finish().is_ok());
    }

    #[test]
    fn sub_protocols(
        address in address(), amount in any::<u64>(), numbers in any::<[i128; 4]>(), token in bytes(), account in bytes(),
        names in proptest::collection::vec((any::<u8>(), text()), 0..4), wallet in text(),
    ) {
        for info in [Info::Request, Info::Answer(address.as_addr())] {
            let bytes = sized(info.to_vec(), info.encoded_len());
            prop_assert_eq!(Info::decode(&bytes), Ok(info));
        }
        for kind in [VouchKind::For, VouchKind::ReachMeAt, VouchKind::RollBack] {
            let vouch = Vouch { kind, address: address.as_addr() };
            let bytes = sized(vouch.to_vec(), vouch.encoded_len());
            prop_assert_eq!(Vouch::decode(&bytes), Ok(vouch));
        }
        let balance = Balance::Answer(amount);
        let bytes = sized(balance.to_vec(), balance.encoded_len());
            prop_assert_eq!(Balance::decode(&bytes), Ok(balance));
        let [available, balance, credit_limit, held] = numbers;
        let answer = LiquidityAnswer { available, balance, credit_limit, held, min_packet: amount, max_packet: !amount };
        let liquidity = Liquidity::Answer(answer);
        let bytes = sized(liquidity.to_vec(), liquidity.encoded_len());
            prop_assert_eq!(Liquidity::decode(&bytes), Ok(liquidity));

        let names: Vec<(u8, &str)> = names.iter().map(|(number, name)| (*number, &**name)).collect();
        for setup in [
            Setup::Authenticate { token: &token, account: &account, target: &token },
            Setup::Protocols(ProtocolList::new(&names)),
            Setup::VouchFor { coin: &wallet, network: "", wallet: &wallet, proof: &token },
        ] {
            let bytes = sized(setup.to_vec(), setup.encoded_len());
            prop_assert_eq!(Setup::decode_request(&bytes), Ok(setup));
        }
        for setup in [
            Setup::Authenticated { address: address.as_addr() },
            Setup::Protocols(ProtocolList::new(&names)),
        ] {
            let bytes = sized(setup.to_vec(), setup.encoded_len());
            prop_assert_eq!(Setup::decode_answer(&bytes), Ok(setup));
        }
    }
}

fn clp_round_trip<E>(value: &ClpValue<E>)
where
    E: EntryValue + Serialize + DeserializeOwned + Debug + PartialEq + Clone,
{
    value.with_packet(|packet| {
        let bytes = packet.to_vec().unwrap();
        assert_eq!(bytes.len(), packet.encoded_len());
        let peeked = clp::Packet::peek_request_id(&bytes);
        assert_eq!(peeked, Some((packet.body.kind().to_byte(), packet.request_id)));

        let decoded = clp::Packet::decode(&bytes, E::DIALECT, Extensions::ALL).unwrap();
        assert_eq!(decoded, packet);
        assert_eq!(decoded.body.data().len(), value.protocol_data.len());
        assert_eq!(decoded.body.data().iter().count(), value.protocol_data.len());
        assert_eq!(decoded.body.data().first(), packet.body.data().iter().next());
        assert_eq!(decoded.to_vec().unwrap(), bytes);
        assert_eq!(&ClpValue::<E>::decode(&bytes, Extensions::ALL).unwrap(), value);

        let plain = clp::Packet::decode(&bytes, E::DIALECT, Extensions::NONE);
        assert_eq!(plain.is_ok(), packet.body.kind() != clp::PacketType::Transfer);
    });
    json_round_trip(value);
}

fn text_round_trip<T>(value: T)
where
    T: Display + FromStr<Err: Debug> + Debug + PartialEq + Serialize + DeserializeOwned,
{
    assert_eq!(value.to_string().parse::<T>().unwrap(), value);
    json_round_trip(&value);
}

fn json_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let json = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
}

fn sized<E: Debug>(bytes: Result<Vec<u8>, E>, len: usize) -> Vec<u8> {
    let bytes = bytes.unwrap();
    assert_eq!(bytes.len(), len);
    bytes
}
