require "include";
include :once "loop-back";
