package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Bounds of JSON.
const (
	maxJSON   = 1 << 20
	maxLevels = 64
)

var errJSON = fmt.Errorf("json: more than %d octets or %d levels", maxJSON, maxLevels)

func jsonDecode(L *lua.LState, c *call) int {
	in := L.CheckString(1)
	if len(in) > maxJSON || deep(in) {
		return failed(L, errJSON)
	}
	var v any
	d := json.NewDecoder(strings.NewReader(in))
	err := d.Decode(&v)
	if err == nil && strings.TrimSpace(in[d.InputOffset():]) != "" {
		err = errors.New("something follows the value")
	}
	if err != nil {
		return failed(L, fmt.Errorf("json: %w", err))
	}
	out := c.fromJSON(L, v)
	L.Push(out)
	return 1
}

// deep reports whether brackets are nested too far, outside of strings.
func deep(in string) bool {
	level, quoted := 0, false
	for i := 0; i < len(in); i++ {
		switch b := in[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '[' || b == '{':
			if level++; level > maxLevels {
				return true
			}
		case b == ']' || b == '}':
			level--
		}
	}
	return false
}

func (c *call) fromJSON(L *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case bool:
		return lua.LBool(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return text(v)
	case []any:
		c.meter.charge(L, len(v)*costEntry)
		t := L.CreateTable(len(v), 0)
		for i, e := range v {
			t.RawSetInt(i+1, c.fromJSON(L, e))
		}
		return t
	case map[string]any:
		c.meter.charge(L, len(v)*costEntry)
		t := L.NewTable()
		for k, e := range v {
			t.RawSetString(k, c.fromJSON(L, e))
		}
		return t
	}
	return lua.LNil
}

func jsonEncode(L *lua.LState, _ *call) int {
	var b strings.Builder
	if err := toJSON(&b, L.Get(1), 0); err != nil {
		L.RaiseError("%v", err)
	}
	L.Push(text(b.String()))
	return 1
}

func toJSON(b *strings.Builder, v lua.LValue, level int) error {
	if level > maxLevels || b.Len() > maxJSON {
		return errJSON
	}
	switch v := v.(type) {
	case *lua.LNilType:
		b.WriteString("null")
	case lua.LBool:
		b.WriteString(v.String())
	case lua.LNumber:
		f := float64(v)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return errors.New("json: a number that JSON has no word for")
		}
		b.WriteString(strconv.FormatFloat(f, 'g', -1, 64))
	case lua.LString:
		return jsonString(b, string(v))
	case *lua.LTable:
		if v.Len() > 0 {
			return jsonArray(b, v, level)
		}
		return jsonObject(b, v, level)
	default:
		return fmt.Errorf("json: a %s has no JSON", v.Type())
	}
	return nil
}

func jsonString(b *strings.Builder, s string) error {
	if b.Len()+len(s) > maxJSON {
		return errJSON
	}
	out, err := json.Marshal(s)
	b.Write(out)
	return err
}

func jsonArray(b *strings.Builder, t *lua.LTable, level int) error {
	n := t.Len()
	for i := 1; i <= n; i++ {
		b.WriteByte("[,"[min(i-1, 1)])
		if err := toJSON(b, t.RawGetInt(i), level+1); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

// jsonObject writes the keys in order, so that the same table is the same text.
func jsonObject(b *strings.Builder, t *lua.LTable, level int) (err error) {
	var keys []string
	t.ForEach(func(k, _ lua.LValue) {
		if s, ok := k.(lua.LString); ok {
			keys = append(keys, string(s))
		} else if err == nil {
			err = fmt.Errorf("json: a key that is a %s", k.Type())
		}
	})
	if err != nil {
		return err
	}
	slices.Sort(keys)
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := jsonString(b, k); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := toJSON(b, t.RawGetString(k), level+1); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func (c *call) clockTime() time.Time {
	if c.Host == nil {
		return time.Now()
	}
	return c.Host.now()
}

func timeNow(L *lua.LState, c *call) int {
	L.Push(lua.LNumber(float64(c.clockTime().UnixMilli()) / 1000))
	return 1
}

// moment reads an optional time and an optional zone.
func moment(L *lua.LState, c *call, zone int) time.Time {
	t := c.clockTime()
	if L.Get(1) != lua.LNil {
		s := float64(L.CheckNumber(1))
		if s != s || math.Abs(s) > 1e11 {
			L.ArgError(1, "not a time")
		}
		t = time.UnixMilli(int64(s * 1000))
	}
	name := L.OptString(zone, "UTC")
	loc, err := time.LoadLocation(name)
	if err != nil || len(name) > 64 {
		L.ArgError(zone, "not a time zone that is known here: "+oneLine(name))
	}
	return t.In(loc)
}

// layouts are what strftime's letters are to Go.
var layouts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January",
	'j': "002", 'y': "06", 'p': "PM", 'I': "03", 'z': "-0700", 'Z': "MST", 'c': time.RFC1123Z, 'F': time.DateOnly, 'T': time.TimeOnly,
}

func timeFormat(L *lua.LState, c *call) int {
	t, format := moment(L, c, 3), L.OptString(2, "%c")
	if len(format) > 1000 {
		L.ArgError(2, "a format of more than 1000 octets")
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			L.ArgError(2, "it ends in %")
		}
		switch layout, ok := layouts[format[i]]; {
		case ok:
			b.WriteString(t.Format(layout))
		case format[i] == '%':
			b.WriteByte('%')
		default:
			L.ArgError(2, "%"+string(rune(format[i]))+" is not known")
		}
	}
	L.Push(text(b.String()))
	return 1
}

func timeParse(L *lua.LState, _ *call) int {
	s := L.CheckString(1)
	t, err := netmail.ParseDate(s[:min(len(s), 200)])
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if err == nil {
			break
		}
		t, err = time.Parse(layout, s)
	}
	if err != nil {
		L.Push(lua.LNil)
	} else {
		L.Push(lua.LNumber(t.Unix()))
	}
	return 1
}

func timeTable(L *lua.LState, c *call) int {
	t := moment(L, c, 2)
	L.Push(fill(L, "year", t.Year(), "month", int(t.Month()), "day", t.Day(), "hour", t.Hour(), "min", t.Minute(),
		"sec", t.Second(), "wday", int(t.Weekday())+1, "yday", t.YearDay()))
	return 1
}
