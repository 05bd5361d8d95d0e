use super::*;

const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn the_first_offer_that_can_be_kept_is_taken() {
    for (lines, bits) in [
        // What browsers, and others, send.
        (&["permessage-deflate; client_max_window_bits"][..], Some(15)),
        (&["permessage-deflate"], Some(15)),
        (&["PerMessage-Deflate"], Some(15)),
        (&["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], Some(15)),
        (&["permessage-deflate;client_max_window_bits=10;server_max_window_bits=15"], Some(15)),
        // A smaller window of ours is kept.
        (&["permessage-deflate; server_max_window_bits=9"], Some(9)),
        (&["permessage-deflate; server_max_window_bits=8"], Some(8)),
        (&["permessage-deflate; server_max_window_bits=\"10\""], Some(10)),
        (&["permessage-deflate; server_max_window_bits=\"1\\0\""], Some(10)),
        (&["permessage-deflate ; server_max_window_bits = 10 "], Some(10)),
        // The next one is tried.
        (&["permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12"], Some(12)),
        (&["permessage-deflate; server_max_window_bits=7", "permessage-deflate"], Some(15)),
        (&["x-webkit-deflate-frame, permessage-deflate"], Some(15)),
        (&["other; a=\"x, permessage-deflate\", permessage-deflate; server_max_window_bits=11"], None),
        (&["other; a=\"b\", permessage-deflate; server_max_window_bits=11"], Some(11)),
        (&[" ,, permessage-deflate,"], Some(15)),
        // What the offers before a malformed place say counts, what is behind does not.
        (&["permessage-deflate, ;"], Some(15)),
        (&["=, permessage-deflate"], None),
        (&["=", "permessage-deflate"], Some(15)),
        // Declined.
        (&[], None),
        (&[""], None),
        (&["permessage-bzip2"], None),
        (&["permessage-deflate2"], None),
        (&["permessage-deflate; "], None),
        (&["permessage-deflate;; client_max_window_bits"], None),
        (&["permessage-deflate client_max_window_bits"], None),
        (&["permessage-deflate; server_no_context_takeover=1"], None),
        (&["permessage-deflate; client_no_context_takeover=true"], None),
        (&["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], None),
        (&["permessage-deflate; client_max_window_bits; client_max_window_bits=15"], None),
        (&["permessage-deflate; server_max_window_bits"], None),
        (&["permessage-deflate; server_max_window_bits="], None),
        (&["permessage-deflate; server_max_window_bits=\"\""], None),
        (&["permessage-deflate; server_max_window_bits=\"10"], None),
        (&["permessage-deflate; server_max_window_bits=7"], None),
        (&["permessage-deflate; server_max_window_bits=16"], None),
        (&["permessage-deflate; server_max_window_bits=010"], None),
        (&["permessage-deflate; server_max_window_bits=+10"], None),
        (&["permessage-deflate; server_max_window_bits=-1"], None),
        (&["permessage-deflate; server_max_window_bits=99999999999"], None),
        (&["permessage-deflate; client_max_window_bits=16"], None),
        (&["permessage-deflate; SERVER_MAX_WINDOW_BITS=10"], None),
    ] {
        let agreed = negotiate(lines.iter().copied());
        assert_eq!(agreed.as_ref().map(|agreed| agreed.window.0), bits, "{lines:?}");
        let Some(agreed) = agreed else { continue };
        let asked = lines.concat().contains("server_max_window_bits");
        match (agreed.window.0, asked) {
            (15, false) => assert_eq!(agreed.answer, PLAIN),
            (bits, _) => assert!(
                agreed.answer == PLAIN || agreed.answer == format!("{PLAIN}; server_max_window_bits={bits}"),
                "{lines:?}: {}",
                agreed.answer
            ),
        }
    }
}

/// Nothing that may stand in a header makes the parser fall over or go on for ever.
#[test]
fn any_line_is_read_to_its_end() {
    let pieces = ["permessage-deflate", ";", ",", "=", "\"", "\\", " ", "server_max_window_bits", "10", "é", "\u{0}"];
    let mut seed = 1u64;
    for _ in 0..20_000 {
        let mut line = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            line.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        if let Some(agreed) = negotiate([line.as_str()].into_iter()) {
            assert!((8..=15).contains(&agreed.window.0), "{line}");
        }
    }
}
