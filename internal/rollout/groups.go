package rollout

import (
	"encoding/json"
	"fmt"
)

// GroupsKey is the key of the records of the control topic that hold a [Groups]; the last one counts. No pipeline has such a name.
const GroupsKey = "/groups"

// Groups is an experiment with a consumer group for each arm, and a merge behind them.
type Groups struct {
	Version int `json:"version"`
	// Split says which arms there are, with which models, and to which arm a key goes. It is by key. nil: there is none.
	Split  *Split `json:"split"`
	By     string `json:"by"`
	Reason string `json:"reason"`
	At     int64  `json:"at"` // milliseconds since 1970
}

// DecodeGroups reads the value of a record of the control topic; a nil one says that there are none. An error matches [ErrInvalid], or
// [ErrNewer].
func DecodeGroups(value []byte) (*Groups, error) {
	g := &Groups{}
	if value == nil {
		return g, nil
	}
	if err := decode(value, version, g); err != nil {
		return nil, err
	}
	if g.Split == nil {
		return g, nil
	}
	if err := g.Split.Validate(); err != nil {
		return nil, err
	}
	if g.Split.By != ByKey {
		return nil, fmt.Errorf("%w: groups that are divided by %.80q", ErrInvalid, g.Split.By)
	}
	return g, nil
}

// Encode returns the value of a record of the control topic.
func (g *Groups) Encode() ([]byte, error) {
	g.Version = version
	return json.Marshal(g)
}
