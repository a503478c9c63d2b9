package task

import "fmt"

// StopError says that a record ends the application: it is not to be processed, nor what follows in its partition. A driver
// commits what came before, and then ends with Err.
type StopError struct {
	Topic     string // where the task has read it
	Partition int32
	Offset    int64
	Err       error
}

// Error names the record and the cause.
func (e *StopError) Error() string {
	return fmt.Sprintf("record %s/%d/%d ends the application: %v", e.Topic, e.Partition, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *StopError) Unwrap() error { return e.Err }

// Stop returns the error by which the present record ends the application; err itself where there is no record.
func (c *Context) Stop(err error) error {
	if r := c.record; r != nil {
		return &StopError{r.Topic, r.Partition, r.Offset, err}
	}
	return err
}
