package config

// ValueType is the type of a value in a condition.
type ValueType uint8

// The types of values in conditions.
const (
	ValueBool ValueType = iota + 1
	ValueNumber
	ValueString
	ValueList // of strings
)

// String is the type as an error message names it.
func (t ValueType) String() string {
	switch t {
	case ValueBool:
		return "true or false"
	case ValueNumber:
		return "a number"
	case ValueString:
		return "a string"
	case ValueList:
		return "a list"
	}
	return "nothing"
}

// Value is what a Variable is for one evaluation. Making one does not allocate.
type Value struct {
	num  float64 // of a bool: 0 or 1
	str  string
	list []string
}

// Bool is a Value of type ValueBool.
func Bool(b bool) Value {
	if b {
		return Value{num: 1}
	}
	return Value{}
}

// Number is a Value of type ValueNumber.
func Number(f float64) Value { return Value{num: f} }

// String is a Value of type ValueString.
func String(s string) Value { return Value{str: s} }

// List is a Value of type ValueList. The condition reads list and does not
// keep it.
func List(list []string) Value { return Value{list: list} }

// Variable is one name usable in conditions over a T.
type Variable[T any] struct {
	Name  string // dotted: "auth.ok"
	Type  ValueType
	Doc   string
	Reads uint16        // facts, in the caller's bits, that Get looks at
	Get   func(T) Value // must return a Value of type Type
}
