//! What becomes of packets to a jail's ports: rejected, dropped, looked at where they are passed on.

use pillory_core::config::fail2ban::native::Reject;

use super::*;

#[test]
fn nft_reads_what_is_rejected_and_what_is_looked_at_when_it_is_passed_on() {
    with_nft(|| {
        let port = |number, block, way| Port { block, way, ..Port::dropped(6, (number, number)) };
        let rejects = [Reject::Port, Reject::Host, Reject::Route, Reject::Forbidden, Reject::Reset];
        let mut ports: Vec<Port> =
            (1..).zip(rejects).map(|(at, error)| port(at, Block::Reject(error), Way::Arriving)).collect();
        ports.push(port(80, Block::Drop, Way::Forwarded));
        let mut action = prepared(&[(jail("web"), ports.clone())]);
        let listed = listing();
        for (number, verdict) in [
            (1, "reject comment"),
            (2, "reject with icmpx host-unreachable"),
            (3, "reject with icmpx no-route"),
            (4, "reject with icmpx admin-prohibited"),
            (5, "reject with tcp reset"),
        ] {
            let found = listed.replace("icmpx type ", "icmpx ").replace("icmpx port-unreachable ", "");
            let found = found.replace("reject with comment", "reject comment");
            let rule = format!("tcp dport {number} ip6 saddr @ban6_web counter {verdict}");
            assert!(found.contains(&rule), "{rule}: {listed}");
        }
        let (_, forward) = listed.split_once("chain forward {").unwrap();
        assert!(forward.contains("type filter hook forward priority"), "{listed}");
        assert_eq!(forward.matches("tcp dport 80 ").count(), 5, "{listed}");
        assert_eq!(forward.matches("counter").count(), 5, "{listed}");
        // Nothing is done twice, and another treatment replaces the rules.
        assert!(!action.prepare(&[(jail("web"), ports)]).unwrap());
        let dropped = vec![port(80, Block::Drop, Way::Arriving)];
        assert!(action.prepare(&[(jail("web"), dropped)]).unwrap());
        let listed = listing();
        assert!(!listed.contains("reject"), "{listed}");
        assert!(
            listed.split_once("chain forward {").is_some_and(|(_, rest)| !rest.contains("dport")),
            "{listed}"
        );
    });
}
