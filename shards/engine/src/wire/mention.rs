//! Who is mentioned in a text: `@name` and `@room`, but not inside code.
//!
//! Code is found by CommonMark's rules, as renderers do: fenced blocks (``` and ~~~, an open one up to the end of the
//! text) before code spans (as many backticks on both sides). Time is linear in the text.

use crate::map::Set;

/// Characters in a username.
const NAME_CHARS_MAX: usize = 32;
/// The name that means everybody in the room.
const EVERYONE: &str = "room";

/// What a text mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Names in lower case, each once, in the order of the text. `@ann.` names both `ann.` and `ann`: which of them
    /// exist is for the caller to find out.
    pub names: Vec<Box<str>>,
    /// `@room` is in it.
    pub everyone: bool,
}

/// Finds the mentions of a message.
pub fn find(content: &str) -> Mentions {
    let mut found = Finder::default();
    // Most messages mention nobody.
    if !content.contains('@') {
        return found.mentions;
    }
    let mut prose_start = 0;
    let mut fence: Option<Fence> = None;
    let mut start = 0;
    for line in content.split_inclusive('\n') {
        let end = start + line.len();
        match fence {
            Some(open) if open.is_closed_by(line) => {
                fence = None;
                prose_start = end;
            }
            Some(_) => {}
            None => {
                fence = Fence::opened_by(line);
                if fence.is_some() {
                    found.prose(&content[prose_start..start]);
                }
            }
        }
        start = end;
    }
    if fence.is_none() {
        found.prose(&content[prose_start..]);
    }
    found.mentions
}

/// The line that opens a fenced block.
#[derive(Clone, Copy)]
struct Fence {
    mark: u8,
    length: usize,
}

impl Fence {
    /// A run of three or more marks, indented by at most three spaces, and what is behind it.
    fn read(line: &str) -> Option<(Fence, &str)> {
        let text = line.trim_start_matches(' ');
        let mark = *text.as_bytes().first()?;
        let length = text.bytes().take_while(|byte| *byte == mark).count();
        let is_fence = matches!(mark, b'`' | b'~') && length >= 3 && line.len() - text.len() <= 3;
        is_fence.then(|| (Fence { mark, length }, &text[length..]))
    }

    fn opened_by(line: &str) -> Option<Fence> {
        // With backticks behind it, a run of backticks begins a code span.
        Fence::read(line).filter(|(fence, info)| fence.mark == b'~' || !info.contains('`')).map(|(fence, _)| fence)
    }

    fn is_closed_by(self, line: &str) -> bool {
        Fence::read(line).is_some_and(|(fence, rest)| {
            fence.mark == self.mark && fence.length >= self.length && rest.trim().is_empty()
        })
    }
}

#[derive(Default)]
struct Finder {
    mentions: Mentions,
    seen: Set<Box<str>>,
}

impl Finder {
    /// Text between fenced blocks: leaves out its code spans.
    fn prose(&mut self, text: &str) {
        let runs = backtick_runs(text);
        // Where the last run of each length is: whether a span closes is known without looking for its end.
        let mut last_of_length: crate::map::Map<usize, usize> = crate::map::Map::default();
        for (index, (_, length)) in runs.iter().enumerate() {
            last_of_length.insert(*length, index);
        }
        let mut plain_start = 0;
        let mut index = 0;
        while let Some((start, length)) = runs.get(index).copied() {
            if last_of_length[&length] > index {
                self.plain(text, plain_start, start);
                index += 1;
                while runs[index].1 != length {
                    index += 1;
                }
                plain_start = runs[index].0 + length;
            }
            index += 1;
        }
        self.plain(text, plain_start, text.len());
    }

    /// `text[start..end]` has no code in it.
    fn plain(&mut self, text: &str, start: usize, end: usize) {
        let bytes = text.as_bytes();
        let mut at = start;
        while let Some(offset) = text[at..end].find('@') {
            let sign = at + offset;
            let name_start = sign + 1;
            let length = bytes[name_start..end].iter().take_while(|byte| is_name(**byte)).count();
            at = name_start + length;
            if text[..sign].chars().next_back().is_none_or(may_precede) {
                self.name(&text[name_start..at]);
            }
        }
    }

    /// A name as far as it goes: itself, and without the punctuation that may end a sentence.
    fn name(&mut self, longest: &str) {
        let trimmed = longest.trim_end_matches(['.', '-']);
        self.candidate(longest);
        if trimmed.len() < longest.len() {
            self.candidate(trimmed);
        }
    }

    fn candidate(&mut self, name: &str) {
        if name.is_empty() || name.len() > NAME_CHARS_MAX {
            return;
        }
        let name: Box<str> = name.to_ascii_lowercase().into();
        if *name == *EVERYONE {
            self.mentions.everyone = true;
        } else if self.seen.insert(name.clone()) {
            self.mentions.names.push(name);
        }
    }
}

/// Start and length of each run of backticks.
fn backtick_runs(text: &str) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in text.bytes().enumerate().filter(|(_, byte)| *byte == b'`') {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == at => *length += 1,
            _ => runs.push((at, 1)),
        }
    }
    runs
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Mail addresses, paths and the like are no mentions.
fn may_precede(char: char) -> bool {
    !char.is_alphanumeric() && !matches!(char, '_' | '.' | '-' | '@' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_code() {
        let long = "a".repeat(32);
        let table: &[(&str, &str)] = &[
            // Text, names in order (`*`: everyone).
            ("", ""),
            ("nobody", ""),
            ("@ann", "ann"),
            ("hello @ann", "ann"),
            ("@Ann and @ANN and @bob", "ann bob"),
            ("(@ann), \"@bob\"; *@eve*\n@dan\t@x", "ann bob eve dan x"),
            ("@ann_b-c.d9!", "ann_b-c.d9"),
            ("Good morning, @ann.", "ann. ann"),
            ("@ann... @ann-", "ann... ann ann-"),
            ("@ann.b. @b", "ann.b. ann.b b"),
            ("@. @- @... @ @", ". - ..."),
            ("@ann@bob", "ann"),
            ("@@ann", ""),
            ("mail a@example.org", ""),
            ("x.@a x-@b x_@c /@d é@e 7@f", ""),
            ("你好@a", ""),
            ("你好 @a你好", "a"),
            ("🎉@a🎉@b", "a b"),
            ("@é @ann\u{301}", "ann"),
            // Everybody.
            ("@room", "*"),
            ("@Room: @ann", "* ann"),
            ("@room.", "* room."),
            ("@rooms @room1", "rooms room1"),
            ("`@room`", ""),
            // Code spans.
            ("`@a` @b", "b"),
            ("``@a ` @b`` @c", "c"),
            ("`@a``@b` @c", "c"),
            ("` @a", "a"),
            ("`` @a `", "a"),
            ("``` @a ``", "a"),
            ("`x`@a `y`", "a"),
            ("`@a\n@b` @c", "c"),
            ("@a `x` @b `y` @c", "a b c"),
            ("``@a` @b``` @c", "a b c"),
            ("say ```@a``` @b", "b"),
            ("say ```\n@a\n@b\n```", "a b"),
            ("say ```\n@a `x`\n@b``` @c", "c"),
            // Fenced blocks.
            ("```\n@a\n```\n@b", "b"),
            ("```rust\n@a\n@b", ""),
            ("@a\n```\n@b\n````\n@c", "a c"),
            ("````\n@a\n```\n@b\n````\n@c", "c"),
            ("~~~\n@a\n```\n~~~\n@b", "b"),
            ("~~~ `x`\n@a\n~~~ x\n@b\n~~~  \n@c", "c"),
            ("   ```\n@a\n   ```\n@b", "b"),
            ("    ```\n@a", "a"),
            ("``` x ` y\n@a", "a"),
            ("~~\n@a", "a"),
            ("```\n@a\n    ```\n@b", ""),
            ("` @a\n```\n@b\n```\n@c `", "a c"),
            ("```@a", ""),
        ];
        for (text, expected) in table {
            assert_eq!(shown(&find(text)), *expected, "{text:?}");
        }
        assert_eq!(shown(&find(&format!("@{long} @{long}a @{long}."))), long);
    }

    /// `*` first, whatever the order in the text.
    fn shown(mentions: &Mentions) -> String {
        let everyone = mentions.everyone.then_some("*");
        everyone.into_iter().chain(mentions.names.iter().map(AsRef::as_ref)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nothing_that_a_text_holds_makes_it_fail() {
        let parts = ["@", "a", ".", "-", "`", "``", "```", "~~~", "\n", " ", "é", "🎉", "@room", "@ann"];
        let mut state = 1u64;
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    parts[(state >> 33) as usize % parts.len()]
                })
                .collect();
            let found = find(&text);
            for name in &found.names {
                assert!(
                    (1..=32).contains(&name.len()) && text.to_ascii_lowercase().contains(&format!("@{name}")),
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn runs_of_many_lengths_cost_no_more_than_their_bytes() {
        // Every run has another length: none closes, and all that is between them is plain.
        let text: String = (1..1500).map(|length| format!("{} @n{length} ", "`".repeat(length))).collect();
        assert_eq!(find(&text).names.len(), 1499);
        let many: String = (0..100_000).map(|number| format!("@n{number} ")).collect();
        assert_eq!(find(&many).names.len(), 100_000);
    }
}
