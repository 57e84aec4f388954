//! Text that others wrote.

/// Characters that move the cursor, start an escape sequence, break a line, or turn the direction of what follows.
pub fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}')
}
