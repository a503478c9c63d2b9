package watch

// Narrow has a board keep so many windows, as if its reference had many columns.
func (b *Board) Narrow(most int) { b.most = most }

// Narrow has a tally count so many windows side by side.
func (t *Tally) Narrow(most int) { t.most = most }
