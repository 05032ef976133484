require "fileinto"; fileinto "of all";
