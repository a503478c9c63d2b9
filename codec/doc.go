// Package codec turns the bytes of records into the columns of a [record.Batch], and predictions back into
// bytes. It reads JSON objects and CSV rows, with the same types and the same rules for both, so that a model
// that was trained on a CSV file answers alike for the same rows sent as JSON.
//
// Decoding is strict: what is not exactly right is rejected, never guessed. A rejected row stays in its batch
// with every field missing and a [record.Problem] of stage decode. The problem's class is one of the Class
// constants, its field is the declared field at fault, if one is, and its reason gives a byte offset (from 0)
// and never a value of the record. The first fault in the order of the bytes is the one reported.
//
// # JSON
//
// A record is one JSON object (RFC 8259) in UTF-8. Undeclared fields are validated and skipped. On top of the
// grammar these are faults, at every depth: a key that comes twice in one object, also when it is spelled
// with escapes; text that is not UTF-8; half of a surrogate pair; more than [MaxDepth] nested values. At the
// top level a key that differs from a declared field only in the case of its letters is a fault.
// An undeclared number needs only the right form: its value is not computed.
//
// # Values
//
//   - numeric: a JSON number, or a CSV cell that holds one (no sign +, no blanks, no digit grouping). The value
//     is the nearest float64. A number too large for a float64 is out of range, and so is an integer written
//     without fraction and exponent that no float64 equals, such as 9007199254740993: it is never rounded.
//     A JSON string is accepted only where the field is declared quoted, and must hold a JSON number.
//   - enum: the level is the text of a JSON string, a JSON number or a CSV cell; true and false are levels
//     of these texts. The text is taken as written, with one exception: in an integer, a fraction of zeros and
//     the sign of zero are dropped, whether it came as a number or as text. So 4, 4.0, "4" and "4.0" are the
//     level 4, in JSON and in CSV, while 04, 1.50 and the text 1e1 stay what they are. A JSON number with an
//     exponent has many spellings and is refused. An empty JSON string is a level like any other.
//   - time: text in one of the declared layouts, tried in order, or a number (or its text) where unix,
//     unix_ms, unix_us or unix_day is declared. RFC 3339, "2006-01-02 15:04:05" and "2006-01-02" are read by the letter of their
//     layout, with an optional fraction of a second after a full time; other layouts as package time reads
//     them. What is below a microsecond is cut off, towards the past. A count must be within the years 0 to
//     9999, and one of days must be whole: it is the beginning of a day in the field's zone. A local time that the zone skips or has twice is read with the offset in force before the change.
//   - string: the text of a JSON string or a CSV cell.
//
// An object or an array in a declared field has the wrong type. JSON's null is missing.
//
// # CSV
//
// A record is one row of RFC 4180: cells may be quoted, and a quoted cell may hold commas, line ends and
// doubled quotes. The number of cells must be that of the header. An empty cell, quoted or not, is an absent
// field. The texts NA, N/A, NaN, nan, null and NULL are missing in a numeric or a time field; in an enum or a
// string field they are values like any other (NA is a country), unless [CSVOptions] says otherwise.
// Cells are not trimmed.
//
// # Absent fields
//
// A field that is absent or null is missing. If it is declared required, the record is rejected. A record in
// which no declared field is present (in CSV: every declared cell is empty) is rejected too, so that a renamed
// feed is not taken for one in which everything is missing.
package codec
