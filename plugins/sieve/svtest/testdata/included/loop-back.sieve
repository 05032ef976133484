require "include";
include :once "loop";
