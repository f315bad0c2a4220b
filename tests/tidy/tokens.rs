//! Rust source as identifiers and marks, each with its line: no comments, no literals. Enough to follow paths and braces.

/// An identifier, or one mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The identifier or the mark.
    pub text: String,
    /// From 1.
    pub line: usize,
}

impl Token {
    /// True for an identifier or keyword.
    pub fn is_word(&self) -> bool {
        self.text.chars().next().is_some_and(is_word_start)
    }
}

fn is_word_start(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

/// Reads along the source.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    /// Skips to behind the first `end`, or to the end of the source.
    fn skip_behind(&mut self, end: &str) {
        let to = self.rest.find(end).map_or(self.rest.len(), |at| at + end.len());
        self.skip(to);
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
            } else if let Some(letter) = self.rest.chars().next() {
                self.skip(letter.len_utf8());
            } else {
                return;
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_quoted(&mut self, quote: char) {
        self.skip(1);
        while let Some(letter) = self.rest.chars().next() {
            self.skip(letter.len_utf8());
            if letter == '\\' {
                let escaped = self.rest.chars().next().map_or(0, char::len_utf8);
                self.skip(escaped);
            } else if letter == quote {
                return;
            }
        }
    }

    /// Skips a raw string that starts at `r`; false if there is none.
    fn skip_raw_string(&mut self) -> bool {
        let hashes = self.rest[1..].chars().take_while(|letter| *letter == '#').count();
        if !self.rest[1 + hashes..].starts_with('"') {
            return false;
        }
        self.skip(2 + hashes);
        self.skip_behind(&format!("\"{}", "#".repeat(hashes)));
        true
    }

    /// A quote begins a character or a lifetime: `'a'` and `'\n'`, or `'a`.
    fn skip_character_or_lifetime(&mut self) {
        let mut letters = self.rest.chars().skip(1);
        let (first, second) = (letters.next(), letters.next());
        if first == Some('\\') || second == Some('\'') {
            self.skip_quoted('\'');
        } else {
            self.skip(1);
        }
    }
}

/// The tokens of `source`.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { rest: source, line: 1 };
    let mut found = Vec::new();
    while let Some(letter) = reader.rest.chars().next() {
        match letter {
            '/' if reader.rest.starts_with("//") => reader.skip_behind("\n"),
            '/' if reader.rest.starts_with("/*") => reader.skip_block_comment(),
            '"' => reader.skip_quoted('"'),
            '\'' => reader.skip_character_or_lifetime(),
            _ if is_word_start(letter) => word(&mut reader, &mut found),
            _ if letter.is_whitespace() => reader.skip(letter.len_utf8()),
            _ if letter.is_ascii_digit() => {
                let end = reader.rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
                reader.skip(end.unwrap_or(reader.rest.len()));
            }
            _ => {
                found.push(Token { text: letter.to_string(), line: reader.line });
                reader.skip(letter.len_utf8());
            }
        }
    }
    found
}

fn word(reader: &mut Reader<'_>, found: &mut Vec<Token>) {
    if reader.rest.starts_with('r') && reader.skip_raw_string() {
        return;
    }
    let end = reader.rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let text = reader.rest[..end.unwrap_or(reader.rest.len())].to_owned();
    // b"…", br"…", c"…": the prefix goes with its literal.
    let after = &reader.rest[text.len()..];
    if matches!(text.as_str(), "b" | "c" | "br" | "cr") && (after.starts_with('"') || after.starts_with('#')) {
        reader.skip(text.len() - usize::from(text.ends_with('r')));
        return;
    }
    found.push(Token { text, line: reader.line });
    reader.skip(end.unwrap_or(reader.rest.len()));
}

/// The same without what stands behind `#[cfg(test)]`: the product's own code.
pub fn without_tests(all: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let is_mark = ["#", "[", "cfg", "(", "test", ")", "]"]
            .iter()
            .enumerate()
            .all(|(offset, text)| all.get(at + offset).is_some_and(|token| token.text == *text));
        if is_mark {
            at = end_of_item(all, at + 7);
        } else {
            kept.push(all[at].clone());
            at += 1;
        }
    }
    kept
}

/// The index behind the item that starts at `at`: behind its `;`, or behind its braces.
pub fn end_of_item(all: &[Token], mut at: usize) -> usize {
    let mut round = 0;
    while let Some(token) = all.get(at) {
        match token.text.as_str() {
            "(" | "[" => round += 1,
            ")" | "]" => round -= 1,
            ";" if round == 0 => return at + 1,
            "{" => return closing(all, at) + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The index of the brace that closes the one at `open`.
pub fn closing(all: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in all.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    all.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = "a // crate::b\n/* c /* d */ e */ \"crate::f \\\" g\" r#\"h \" i\"# b\"j\" br#\"k\"# 'l' '\\'' m";
        assert_eq!(texts(source), ["a", "m"]);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(texts("fn a<'b>(c: &'b str) { 'd' }").join(" "), "fn a < b > ( c : & b str ) { }");
    }

    #[test]
    fn lines_are_counted_through_literals() {
        assert_eq!(tokens("\"a\nb\"\nc")[0], Token { text: "c".to_owned(), line: 3 });
    }

    #[test]
    fn test_code_is_left_out() {
        let all = tokens("a #[cfg(test)] mod t { b { c } } d #[cfg(test)] use e; f");
        assert_eq!(without_tests(&all).iter().map(|token| token.text.as_str()).collect::<String>(), "adf");
    }
}
