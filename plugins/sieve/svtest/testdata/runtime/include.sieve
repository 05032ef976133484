require "include";
include :personal "nonesuch";
