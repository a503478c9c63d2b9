package table

import (
	"math"
	"slices"
	"sort"

	"millrace.dev/record"
)

// version is a row, or that there is none, from a time on until the next version of its key.
type version struct {
	row      *record.Row // nil: deleted
	at       int64
	keep     []int // the fields that have the value of the version before
	snapshot bool  // valid from the beginning of time, if there is no version before
	older    bool  // there was one before, which is forgotten
	guess    bool  // a delete that was made at some time before at, after what was applied before it
}

// rowAt returns the row that was valid at a time, or nil if there was none or if it had ended by the horizon.
func rowAt(versions []version, at, horizon int64) *record.Row {
	i := after(versions, at) - 1
	if i < 0 {
		if !versions[0].snapshot {
			return nil
		}
		i = 0
	}
	if i+1 < len(versions) && versions[i+1].at <= horizon {
		return nil
	}
	return versions[i].row
}

// after returns the position of the first version that begins after a time.
func after(versions []version, at int64) int {
	n := len(versions)
	if n == 0 || versions[n-1].at <= at { // as mostly
		return n
	}
	return sort.Search(n-1, func(i int) bool { return versions[i].at > at })
}

// place puts v among the versions of its key and returns them, where v is, and whether it took the place of one with the same
// time. Versions that keep values of v get them.
func (t *Table) place(versions []version, v version) (all []version, i int, replaced bool) {
	i = after(versions, v.at)
	if i < len(versions) || i > 0 && versions[i-1].at == v.at {
		versions = slices.Clone(versions) // readers see these
	}
	if i > 0 && versions[i-1].at == v.at {
		i--
		old := versions[i]
		v.older = old.older
		v.snapshot = v.snapshot && !old.older
		v.keep = t.fill(&v, old.row, v.keep)
		if old.row == nil {
			v.keep = nil // it has nothing of the versions before the delete
		} else {
			v.keep = common(v.keep, old.keep)
		}
		t.bytes.Add(-versionBytes(&old))
		versions[i] = v
		replaced = true
	} else {
		if len(v.keep) > 0 {
			var before *record.Row
			if i > 0 {
				before = versions[i-1].row
			}
			t.fill(&v, before, v.keep)
		}
		versions = slices.Insert(versions, i, v)
	}
	t.bytes.Add(versionBytes(&v))
	for j := i + 1; j < len(versions) && len(versions[j].keep) > 0; j++ {
		t.bytes.Add(-versionBytes(&versions[j]))
		versions[j].row = t.take(versions[j].row, versions[j-1].row, versions[j].keep)
		t.bytes.Add(versionBytes(&versions[j]))
	}
	return versions, i, replaced
}

// fill gives v the values that it keeps of the row before, and returns keep.
func (t *Table) fill(v *version, before *record.Row, keep []int) []int {
	if len(keep) == 0 || v.row == nil {
		return nil
	}
	if before == nil {
		t.gaps.Add(int64(len(keep)))
	}
	v.row = t.take(v.row, before, keep)
	return keep
}

// common returns what is in both, which are in ascending order.
func common(a, b []int) []int {
	var both []int
	for _, f := range a {
		if _, ok := slices.BinarySearch(b, f); ok {
			both = append(both, f)
		}
	}
	return both
}

// forget drops the versions that ended by the horizon, if they are at least half of all, so that it costs little for each
// version; and all of them, if the last is a delete that the horizon has passed.
func (t *Table) forget(versions []version) []version {
	horizon := t.horizon.Load()
	n := len(versions)
	if n == 0 {
		return versions
	}
	gone := n
	if last := &versions[n-1]; last.row != nil || last.at > horizon {
		gone = max(after(versions, horizon)-1, 0)
	}
	if gone == 0 || 2*gone < n {
		return versions
	}
	for i := range gone {
		t.bytes.Add(-versionBytes(&versions[i]))
	}
	versions = slices.Clone(versions[gone:]) // readers see these
	if len(versions) > 0 {
		versions[0].snapshot, versions[0].older = false, true
	}
	return versions
}

// take returns row with some fields as in the row before; they are missing if there is none.
func (t *Table) take(row, before *record.Row, fields []int) *record.Row {
	if row == nil {
		return nil
	}
	n := &record.Row{Numbers: slices.Clone(row.Numbers), Times: slices.Clone(row.Times), Texts: slices.Clone(row.Texts)}
	for _, f := range fields {
		slot := t.schema.Slot(f)
		switch t.schema.Field(f).Type {
		case record.Numeric:
			n.Numbers[slot] = math.NaN()
			if before != nil {
				n.Numbers[slot] = before.Numbers[slot]
			}
		case record.Time:
			n.Times[slot] = record.MissingTime
			if before != nil {
				n.Times[slot] = before.Times[slot]
			}
		case record.Enum, record.String:
			n.Texts[slot] = record.Text{}
			if before != nil {
				n.Texts[slot] = before.Texts[slot]
			}
		}
	}
	return n
}
