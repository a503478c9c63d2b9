// Package cdc turns the records of a changelog topic into changes of a table: what Debezium and Maxwell write about a
// database, or rows by key. It is pure: it reads no topic and no clock, and starts no goroutine.
//
// # Formats
//
// debezium: the change events of Debezium's relational connectors as its JSON converter writes them, with or without the
// {"schema":…,"payload":…} around key and value.
//
//   - An envelope has op, before, after and source. op c and u give the row after; r gives it as part of a snapshot; d
//     deletes; t truncates; m is a message of an application, which is ignored.
//   - A flattened record (the transform ExtractNewRecordState) is the row itself. __deleted or __op in it say that the row
//     is gone; __op r that it is part of a snapshot. The fields and the headers __source_ts_us, __source_ts_ns,
//     __source_ts_ms, __ts_us, __ts_ns and __ts_ms give its time, headers as plain digits.
//   - A null value (a tombstone) deletes. After an envelope with op d it has nothing left to do; but compaction removes
//     that envelope before the tombstone, and by default a flattened delete is nothing but the tombstone.
//   - A column with the placeholder that stands for an unchanged value which the database did not log (PostgreSQL's TOAST,
//     large columns of Oracle) keeps the value that it had, in every form in which connectors write it: as text, in
//     base64 and hexadecimal, as an array, as a map.
//
// maxwell: Maxwell's daemon. Types insert, update, delete and bootstrap-insert are changes; the marks around a bootstrap
// and the definitions of tables and databases are ignored.
//
// upsert: the value is the row, with or without {"schema":…,"payload":…} around it; a null value deletes.
//
// # Keys
//
// The key of a row is the text of one column, read as an enum is: an integer as it is written, 4, 4.0 and "4" all as 4.
// If the schema declares the column as a string, its text is the key as it stands, as a record's string is. The column is
// looked for in the row, and where that does not have it in the record's key: a JSON object, with or without
// {"schema":…,"payload":…}, or Maxwell's hash ("pk." before the name). In format upsert the record's key may also be plain
// text, a JSON string, or an envelope with a single value.
//
// A delete finds its key in before, else in the record's key. An update that gives the row another key, as before or
// Maxwell's old show, deletes the old one too. If it takes the key away, it only deletes.
//
// # Times
//
// The time of a change is that of the database: ts_us, else ts_ns, else ts_ms in source. Where there is none it is the
// connector's, else the record's timestamp. Maxwell has seconds. What is below a microsecond is cut off.
//
// # Rows
//
// A row is decoded as package codec decodes a record, and columns that the schema does not declare are skipped. DECIMAL
// comes as base64 unless the connector's decimal.handling.mode is string or double: only a quoted numeric field takes text,
// and none takes base64. Times come as counts: unix_ms, unix_us and unix_day fit Timestamp, MicroTimestamp and Date.
//
// # Faults
//
// A record that cannot be read gives no change, and a [record.Problem] of stage [record.StageTable]: its class is one of the
// Class constants or one of package codec, its reason never holds a value of the record.
package cdc
