//! Who is told of attackers, each in its own form.

pub(super) mod abuseipdb;
pub(super) mod blocklist_de;
pub(super) mod xarf;

use std::fmt::Write as _;

use super::Failed;

/// A form as browsers send it. Source: URL Standard, section 5.2.
fn form(fields: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_');
            match byte {
                _ if is_plain => text.push(char::from(byte)),
                b' ' => text.push('+'),
                // A string takes all that is written to it.
                _ => drop(write!(text, "%{byte:02X}")),
            }
        }
    }
    text
}

fn unfit(_: ureq::http::Error) -> Failed {
    Failed::lasting("the address or the key is none that can be sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_another_field() {
        assert_eq!(form(&[("a", "x y&b=ü+%"), ("c", "")]), "a=x+y%26b%3D%C3%BC%2B%25&c=");
    }
}
