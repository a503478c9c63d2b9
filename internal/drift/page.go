package drift

import "millrace.dev/profile"

// Last returns the last window that was judged, and the training data's profile of the same columns.
func (r *Report) Last() (training, window *profile.Profile) {
	window = &profile.Profile{Rows: r.last.Rows, Columns: r.last.Columns}
	training = r.reference.Select(func(c *profile.Column) bool {
		_, ok := window.Column(c.Name)
		return ok
	})
	return training, window
}

// Marked names the columns that fail a check, or are warned of.
func (r *Report) Marked() map[string]bool {
	marked := map[string]bool{}
	for i := range r.Moved {
		marked[r.Moved[i].Column] = true
	}
	if p := r.Predicted; p != nil && p.Severity != profile.OK {
		marked[p.Column] = true
	}
	return marked
}

// Remarks returns the words of the report by column; those of "" are of all of it.
func (r *Report) Remarks() map[string][]string {
	notes := map[string][]string{"": {capital(string(r.Action)) + ": " + r.Reason}}
	notes[""] = append(append(notes[""], r.lossWords()...), r.Notes...)
	for i := range r.Moved {
		m := &r.Moved[i]
		notes[m.Column] = append([]string{capital(m.roleWords()) + "."}, m.Words...)
	}
	if p := r.Predicted; p != nil && p.Severity != profile.OK {
		notes[p.Column] = r.predictionWords()
	}
	return notes
}
