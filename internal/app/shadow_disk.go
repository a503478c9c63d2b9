package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// diskPause is how long there is between two looks at how full a disk is.
const diskPause = 2 * time.Second

// watchDisk ends a shadow, with an error, before its state fills the file system that it shares with others.
func (a *App) watchDisk(ctx context.Context, give context.CancelCauseFunc, dir string, o *ShadowOptions) {
	for {
		free, err := o.Free(dir)
		if err != nil { // the folder is not made yet
			free, err = o.Free(filepath.Dir(dir))
		}
		if err == nil && free < o.MinFree {
			a.Log.LogAttrs(ctx, slog.LevelError, "shadow ends: the disk of its state is nearly full", slog.String("dir", dir), slog.Float64("free", free))
			give(&Error{
				Code: Failed, Op: "shadow", Where: dir, Err: fmt.Errorf("%.1f%% of its file system are free, and %.1f%% stay free for others", 100*free, 100*o.MinFree),
				Hint: "make room, or give the state a volume of its own, and start again: it goes on where it was; --min-free sets how much stays free",
			})
			return
		}
		if pause(ctx, diskPause) != nil {
			return
		}
	}
}
