//! A page that needs nothing but itself: no script, no font, no picture from elsewhere. All text goes through
//! [`escape`]; what is put in unescaped was made here.

use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// Text as HTML, also within an attribute's quotes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // No browser shows them, and HTML does not allow them.
            c if c.is_control() && c != '\n' && c != '\t' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A whole page. `body` is HTML.
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// The head of a page: what it is about, its verdict (good or not, in words), and a line of facts.
pub fn header(title: &str, verdict: Option<(bool, &str)>, facts: &[String]) -> String {
    let mut text = format!("<header>\n<h1>{}</h1>\n", escape(title));
    if let Some((good, words)) = verdict {
        let (class, mark) = if good { ("good", "✓") } else { ("bad", "✕") };
        let _ = writeln!(
            text,
            "<p class=\"verdict {class}\"><span aria-hidden=\"true\">{mark}</span> {}</p>",
            escape(words)
        );
    }
    let facts: Vec<String> = facts.iter().map(|fact| format!("<li>{}</li>", escape(fact))).collect();
    let _ = writeln!(text, "<ul class=\"facts\">{}</ul>\n</header>", facts.join(""));
    text
}

/// A part of a page under a heading. `body` is HTML.
pub fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escape(title))
}

/// A part that is folded away until somebody wants it. `body` is HTML.
pub fn folded(title: &str, body: &str) -> String {
    format!("<details>\n<summary>{}</summary>\n{body}</details>\n", escape(title))
}

/// Figures that count most: name, value, and what to hold it against.
pub fn tiles(tiles: &[(&str, String, String)]) -> String {
    let mut text = String::from("<dl class=\"tiles\">\n");
    for (name, value, beside) in tiles {
        // Lines break between parts, never between a number and its unit.
        let whole = |text: &str| escape(text).replace(' ', "\u{a0}").replace(",\u{a0}", ", ");
        let (name, value, beside) = (escape(name), whole(value), whole(beside));
        let _ = writeln!(text, "<div><dt>{name}</dt><dd>{value}<small>{beside}</small></dd></div>");
    }
    text + "</dl>\n"
}

/// Sentences that a reader should not miss.
pub fn notes(class: &str, notes: &[String]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let items: Vec<String> = notes.iter().map(|note| format!("<li>{}</li>", escape(note))).collect();
    format!("<ul class=\"notes {class}\">{}</ul>\n", items.join(""))
}

/// One field of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    class: &'static str,
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), class: "" }
    }

    /// A number, which stands to the right.
    pub fn number(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), class: "n" }
    }

    /// A number that is not as it should be.
    pub fn bad_number(text: &str) -> Cell {
        Cell { text: format!("✕ {text}"), class: "n bad" }
    }

    /// Words that say whether something is as it should be.
    pub fn verdict(good: bool, text: &str) -> Cell {
        let (class, mark) = if good { ("good", "✓") } else { ("bad", "✕") };
        Cell { text: format!("{mark} {text}"), class }
    }
}

/// A table. Narrow screens scroll it by itself.
pub fn table(caption: &str, head: &[&str], rows: &[Vec<Cell>]) -> String {
    let caption = escape(caption);
    if rows.is_empty() {
        return format!(
            "<div class=\"table\"><table><caption>{caption}</caption></table><p class=\"none\">None.</p></div>\n"
        );
    }
    let mut text = format!(
        "<div class=\"table\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table><caption>{caption}</caption>\n<thead><tr>"
    );
    for (at, name) in head.iter().enumerate() {
        let class = if rows[0].get(at).is_some_and(|cell| cell.class.starts_with('n')) { " class=\"n\"" } else { "" };
        let _ = write!(text, "<th scope=\"col\"{class}>{}</th>", escape(name));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        text.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let (tag, scope) = if at == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
            let class = if cell.class.is_empty() { String::new() } else { format!(" class=\"{}\"", cell.class) };
            let _ = write!(text, "<{tag}{scope}{class}>{}</{tag}>", escape(&cell.text));
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody></table></div>\n"
}

/// Figures side by side where there is room. `figures` are HTML.
pub fn grid(figures: &[String]) -> String {
    format!("<div class=\"grid\">\n{}\n</div>\n", figures.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "<script>alert('1')</script>\"&\u{7}";

    #[test]
    fn nothing_from_outside_is_taken_for_html() {
        let parts = [
            page(EVIL, ""),
            header(EVIL, Some((true, EVIL)), &[EVIL.into()]),
            section(EVIL, ""),
            folded(EVIL, ""),
            tiles(&[(EVIL, EVIL.into(), EVIL.into())]),
            notes("warn", &[EVIL.into()]),
            table(EVIL, &[EVIL], &[vec![Cell::text(EVIL), Cell::number(EVIL), Cell::verdict(false, EVIL)]]),
        ];
        for part in parts {
            assert!(!part.contains("<script>") && !part.contains("'1'") && !part.contains('\u{7}'), "{part}");
            assert!(part.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;\u{fffd}"), "{part}");
        }
    }

    #[test]
    fn a_table_has_heads_for_columns_and_rows() {
        let text = table("Counts", &["what", "count"], &[vec![Cell::text("sent"), Cell::number("7")]]);
        for part in
            ["<caption>Counts", "<th scope=\"col\" class=\"n\">count", "<th scope=\"row\">sent", "<td class=\"n\">7"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(table("Errors", &["code"], &[]).contains("None."));
    }
}
