//! What may be a reaction.

/// Characters in a shortcode, without its colons.
pub const SHORTCODE_CHARS_MAX: usize = 32;
/// What is longer need not be looked up: the longest emoji has 35 bytes.
pub const EMOJI_BYTES_MAX: usize = 64;

/// The one form under which an emoji is kept: fully qualified, so that ❤ with and without its variation selector is
/// the same reaction. A shortcode stays as it is. `None`: neither a single emoji nor a shortcode.
pub fn canonical(text: &str) -> Option<&str> {
    if text.len() > EMOJI_BYTES_MAX {
        return None;
    }
    if is_shortcode(text) || is_component(text) {
        return Some(text);
    }
    let found = emojis::get(text).or_else(|| emojis::get(&bare(text).collect::<String>()))?;
    // The table leads some sequences of several skin tones, without their selectors, to others of the same kind.
    let variants = found.skin_tones().into_iter().flatten();
    std::iter::once(found).chain(variants).map(emojis::Emoji::as_str).find(|variant| bare(variant).eq(bare(text)))
}

/// Without variation selectors, which tell no two emoji apart.
fn bare(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|char| *char != '\u{FE0F}')
}

fn is_shortcode(text: &str) -> bool {
    let inner = text.strip_prefix(':').and_then(|text| text.strip_suffix(':')).unwrap_or_default();
    (1..=SHORTCODE_CHARS_MAX).contains(&inner.len())
        && inner.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_+-".contains(&byte))
}

/// Skin tones and hair by themselves: single emoji of Unicode's list, which the table has only inside others.
fn is_component(text: &str) -> bool {
    let mut chars = text.chars();
    matches!((chars.next(), chars.next()), (Some('\u{1F3FB}'..='\u{1F3FF}' | '\u{1F9B0}'..='\u{1F9B3}'), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_emoji_have_one_form() {
        let table = [
            // As sent, as kept.
            ("🤔", "🤔"),
            ("🤔\u{FE0F}", "🤔"),
            ("\u{2764}", "\u{2764}\u{FE0F}"),
            ("\u{2764}\u{FE0F}", "\u{2764}\u{FE0F}"),
            ("\u{A9}", "\u{A9}\u{FE0F}"),
            ("☺", "☺\u{FE0F}"),
            // Keycaps.
            ("1\u{20E3}", "1\u{FE0F}\u{20E3}"),
            ("#\u{FE0F}\u{20E3}", "#\u{FE0F}\u{20E3}"),
            // Flags, of subdivisions too, and with a joiner.
            ("🇩🇪", "🇩🇪"),
            (
                "\u{1F3F4}\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
                "\u{1F3F4}\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
            ),
            ("🏳\u{200D}🌈", "🏳\u{FE0F}\u{200D}🌈"),
            ("🏳\u{FE0F}\u{200D}⚧", "🏳\u{FE0F}\u{200D}⚧\u{FE0F}"),
            // Skin tones.
            ("👍🏽", "👍🏽"),
            ("👍\u{FE0F}🏽", "👍🏽"),
            ("🕵🏿\u{200D}♀", "🕵🏿\u{200D}♀\u{FE0F}"),
            ("🏽", "🏽"),
            ("🦰", "🦰"),
            // Families and couples.
            ("👨\u{200D}👩\u{200D}👧\u{200D}👦", "👨\u{200D}👩\u{200D}👧\u{200D}👦"),
            ("🧑🏻\u{200D}❤\u{200D}💋\u{200D}🧑🏿", "🧑🏻\u{200D}❤\u{FE0F}\u{200D}💋\u{200D}🧑🏿"),
            ("👁\u{200D}🗨", "👁\u{FE0F}\u{200D}🗨\u{FE0F}"),
            // Shortcodes.
            (":tada:", ":tada:"),
            (":+1:", ":+1:"),
            (":a_b-9:", ":a_b-9:"),
        ];
        for (sent, kept) in table {
            assert_eq!(canonical(sent), Some(kept), "{}", sent.escape_unicode());
        }
    }

    #[test]
    fn every_emoji_of_the_table_is_its_own_form() {
        let all = emojis::iter().flat_map(|emoji| emoji.skin_tones().into_iter().flatten().chain([emoji]));
        let mut count = 0;
        for emoji in all {
            assert_eq!(canonical(emoji.as_str()), Some(emoji.as_str()));
            let bare = emoji.as_str().replace('\u{FE0F}', "");
            assert_eq!(canonical(&bare), Some(emoji.as_str()), "{}", bare.escape_unicode());
            count += 1;
        }
        assert!(count > 3700, "{count}");
    }

    #[test]
    fn all_else_is_refused() {
        let long = ":aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:";
        assert!(canonical(&long.replacen('a', "", 1)).is_some());
        for text in [
            "",
            " ",
            "a",
            "1",
            "#",
            "*",
            "ok",
            "🤔🤔",
            "🤔 ",
            " 🤔",
            "🇩",
            "🇩🇪🇫🇷",
            "🇽🇽",
            "🤔🏽",
            "👍🏽🏽",
            "🏽🏽",
            "\u{200D}",
            "\u{FE0F}",
            "\u{20E3}",
            "🤔\u{200D}",
            "🤔\u{200D}🤔",
            "🏴\u{E0067}\u{E007F}",
            "🤔\u{301}",
            ":",
            "::",
            ":A:",
            ":a b:",
            ":é:",
            ":a",
            "a:",
            ":a:b:",
            long,
        ] {
            assert_eq!(canonical(text), None, "{}", text.escape_unicode());
        }
        assert_eq!(canonical(&"🤔".repeat(10_000)), None);
    }
}
