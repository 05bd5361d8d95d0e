//! Words as a language has them: a few are in every other message, most are rare (Zipf).

use crate::dice::Dice;

/// Words that there are.
pub const WORDS: usize = 20_000;
const CONSONANTS: &[u8; 12] = b"bdfglmnprstv";
const VOWELS: &[u8; 5] = b"aeiou";
const SYLLABLES: usize = CONSONANTS.len() * VOWELS.len();

/// The word of a rank: 0 is the most frequent. It ends with a letter that no word has inside, so that no word is the
/// beginning of another.
pub fn word(rank: usize) -> String {
    let mut left = rank + 1;
    let mut text = String::new();
    while left > 0 {
        left -= 1;
        let syllable = left % SYLLABLES;
        text.push(char::from(CONSONANTS[syllable / VOWELS.len()]));
        text.push(char::from(VOWELS[syllable % VOWELS.len()]));
        left /= SYLLABLES;
    }
    text.push('k');
    text
}

/// Three to sixteen words.
pub fn sentence(dice: &mut Dice, words: &[String]) -> String {
    let count = 3 + dice.below(14);
    let mut text = String::with_capacity(count * 7);
    for number in 0..count {
        if number > 0 {
            text.push(' ');
        }
        text.push_str(&words[dice.zipf(words.len())]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn words_are_different_and_none_begins_another() {
        let words: BTreeSet<String> = (0..WORDS).map(word).collect();
        assert_eq!(words.len(), WORDS);
        // In order, a word that begins another stands right before one that it begins.
        assert!(words.iter().zip(words.iter().skip(1)).all(|(one, next)| !next.starts_with(one.as_str())));
    }
}
