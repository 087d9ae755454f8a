//! The framing against garbage, and what is written against what is read.

use proptest::prelude::*;

use super::decode::{attributes, messages};
use super::encode::Messages;
use super::*;

#[test]
fn reads_what_it_wrote() {
    let mut batch = Messages::numbered_from(7);
    batch.message(24, CREATE, &[1, 2, 3, 4], |a| {
        a.text(1, "pillory");
        a.nested(4, |a| {
            a.be32(1, 300);
            a.be64(2, 1 << 40);
        });
        a.put(9, &[5]);
    });
    let sequence = batch.message(25, ACK, &[], |_| {});
    let read: Vec<_> = messages(batch.bytes().unwrap()).map(|m| m.unwrap()).collect();
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (24, CREATE | REQUEST, 7));
    assert_eq!((read[1].sequence, sequence, read[1].payload.len()), (8, 8, 0));
    let (fixed, mut rest) = read[0].split(4).unwrap();
    assert_eq!(fixed, [1, 2, 3, 4]);
    assert_eq!(rest.next().unwrap().unwrap().text().unwrap(), "pillory");
    let nested: Vec<_> = rest.next().unwrap().unwrap().nested().map(|a| a.unwrap()).collect();
    assert_eq!((nested[0].be32().unwrap(), nested[1].be64().unwrap()), (300, 1 << 40));
    assert_eq!(rest.next().unwrap().unwrap().value, [5]);
    assert!(rest.next().is_none());
}

#[test]
fn refuses_to_send_an_attribute_that_is_too_long() {
    let mut batch = Messages::numbered_from(1);
    batch.message(1, 0, &[], |a| a.put(1, &[0; 65_531]));
    assert!(batch.bytes().is_ok());
    batch.message(1, 0, &[], |a| a.nested(1, |a| a.put(1, &[0; 65_531])));
    assert!(matches!(batch.bytes(), Err(NetlinkError::TooLong)));
}

#[test]
fn a_message_of_length_zero_is_an_error_and_ends_the_walk() {
    let zeros = [0; 64];
    assert_eq!(messages(&zeros).filter(|m| m.is_err()).count(), 1);
    assert_eq!(attributes(&zeros).filter(|a| a.is_err()).count(), 1);
}

proptest! {
    #[test]
    fn garbage_ends_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for message in messages(&bytes).flatten() {
            let _ = message.error();
            if let Ok((_, rest)) = message.split(4) {
                walk(rest, 0);
            }
        }
        walk(attributes(&bytes), 0);
    }

    #[test]
    fn a_damaged_message_ends_without_a_panic(cut in 0usize..80, at in 0usize..80, byte in any::<u8>()) {
        let mut batch = Messages::numbered_from(1);
        batch.message(24, 0, &[0; 4], |a| a.nested(1, |a| { a.text(1, "ban4"); a.nested(2, |a| a.be32(1, 1)); }));
        batch.message(24, 0, &[0; 4], |a| a.be64(1, 1));
        let mut bytes = batch.bytes().unwrap().to_vec();
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        if let Some(slot) = bytes.get_mut(at) {
            *slot = byte;
        }
        for message in messages(&bytes).flatten() {
            if let Ok((_, rest)) = message.split(4) {
                walk(rest, 0);
            }
        }
    }
}

fn walk(rest: super::decode::AttributeIter<'_>, depth: u8) {
    for attribute in rest.flatten() {
        let _ = (attribute.text(), attribute.be32(), attribute.be64(), attribute.ne32(), attribute.addr());
        if depth < 4 {
            walk(attribute.nested(), depth + 1);
        }
    }
}

#[test]
fn lost_answers_are_an_error_and_the_socket_goes_on() {
    use super::route::{BLACKHOLE, DELETE_ROUTE, IPV4, MAIN_TABLE, ROUTE_DESTINATION, route_fixed};
    lab::in_new_namespace(|| {
        let mut socket = super::socket::Socket::open(None, 0).unwrap();
        socket.shrink_buffers();
        let refused = |count: u32, socket: &mut super::socket::Socket| {
            let mut batch = socket.messages();
            for n in 0..count {
                batch.message(DELETE_ROUTE, 0, &route_fixed(IPV4, 32, MAIN_TABLE, 199, BLACKHOLE), |a| {
                    a.put(ROUTE_DESTINATION, &n.to_be_bytes());
                });
            }
            let last = batch.acknowledge_last();
            socket.exchange(&batch, last)
        };
        let error = refused(5_000, &mut socket).unwrap_err();
        assert_eq!(error.errno(), Some(rustix::io::Errno::NOBUFS));
        assert_eq!(refused(10, &mut socket).unwrap().len(), 10);
    });
}
