package anomaly

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"

	"millrace.dev/profile"
)

// The classes of anomalies beside a reference.
const (
	NewColumn     = "new_column"     // the reference does not have it
	MissingColumn = "missing_column" // the reference, or the schema, has it and the data does not
	TypeChange    = "type_change"    // values of another kind than in the reference, or than the schema says
	UnitChange    = "unit_change"    // numbers that are a multiple of those of the reference
	NullRate      = "null_rate"      // the share of missing values differs
	UnseenLevels  = "unseen_levels"  // levels that the reference does not have
	Range         = "range"          // values below the least, or above the largest of the reference
)

// The classes of anomalies of data alone.
const (
	Undeclared       = "undeclared_column" // the schema does not have it
	Constant         = "constant_column"   // one value in every row
	AllMissing       = "all_missing"       // no value in any row
	DuplicateKeys    = "duplicate_keys"    // rows whose key came before
	DuplicateColumns = "duplicate_columns" // a name of a column that comes twice, or is empty
	MixedTypes       = "mixed_types"       // numbers beside texts
	ImplausibleTimes = "implausible_times" // before 1900, or from 2100 on
	SimilarLevels    = "similar_levels"    // levels that differ in case and white space only
	NumbersAsText    = "numbers_as_text"   // texts that are numbers
	Outliers         = "outliers"          // few values that decide about mean and deviation
	Rejected         = "rejected_records"  // records that cannot be decoded
)

// Anomaly is something odd about a column, or about the data as a whole.
type Anomaly struct {
	Column string // "" is the data as a whole
	Class  string // one of the constants
	Words  string // a sentence for a person
	// Value is what was found, and Limit what it is judged by, mostly shares of rows or of values: docs/profile.md says of
	// each class what they are. Either may be NaN.
	Value, Limit float64
}

// MarshalJSON writes the anomaly as an object, in which null stands for NaN and infinities.
func (a Anomaly) MarshalJSON() ([]byte, error) {
	known := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return json.Marshal(struct {
		Column string   `json:"column,omitempty"`
		Class  string   `json:"class"`
		Words  string   `json:"words"`
		Value  *float64 `json:"value"`
		Limit  *float64 `json:"limit"`
	}{a.Column, a.Class, a.Words, known(a.Value), known(a.Limit)})
}

// Data is what is known of data.
type Data struct {
	Profile *profile.Profile
	Columns []Column // that the data has, in its order; nil if they are not known
	Schema  []string // the fields that were declared; nil if none were
	Keys    *Keys    // nil: no key is known
	Outside []Outside
	Changed []Changed
	Renamed []Renamed
	Read    uint64 // records
	Bad     uint64 // of them, how many cannot be decoded
	Reasons string // why, in words
}

// Column is a column as the records have it.
type Column struct {
	Name string
	// Looked is how many values were looked at one by one. Of these, Numbers are numbers as they stand, Quoted are
	// numbers in quotes, of JSON, and Formatted would be numbers without separators and signs.
	Looked, Numbers, Quoted, Formatted int
	// Kinds says which kinds of JSON values it has, if there are several; else "".
	Kinds string
}

// Keys says how often keys come again.
type Keys struct {
	Field    string
	Rows     uint64 // with a key
	Repeated uint64 // of them, whose key came before
	Exact    bool   // else Repeated is an estimate, of which Error is the standard error in rows
	Error    float64
}

// Outside counts the values of a column outside of the bounds of the reference or, of times, of what is plausible.
type Outside struct {
	Column       string
	Plausible    bool
	Below, Above uint64
}

// Changed is a column whose values are of another kind than was expected.
type Changed struct {
	Column    string
	Was, Is   profile.Kind
	Reference bool // that is what the reference has; else what the schema says
}

// Renamed is a column whose name in the file is empty or comes twice.
type Renamed struct{ Given, Name string }

// list collects anomalies.
type list []Anomaly

func (l *list) add(column, class string, value, limit float64, words string) {
	*l = append(*l, Anomaly{column, class, words, value, limit})
}

// sorted returns the anomalies by the order of the columns, those of the data as a whole first.
func (l list) sorted(d *Data) []Anomaly {
	place := map[string]int{"": -1}
	for i := range d.Profile.Columns {
		place[d.Profile.Columns[i].Name] = i
	}
	at := func(a *Anomaly) int {
		if i, ok := place[a.Column]; ok {
			return i
		}
		return len(place)
	}
	slices.SortStableFunc(l, func(a, b Anomaly) int {
		return cmp.Or(cmp.Compare(at(&a), at(&b)), strings.Compare(a.Column, b.Column))
	})
	if l == nil {
		return []Anomaly{}
	}
	return l
}

func share(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}
