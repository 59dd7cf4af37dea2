# A console for sidekiq.test.js: each line is an expression, which is answered by its value as JSON.

require 'json'
require 'sidekiq/api'
require_relative 'sidekiq-jobs'

while (line = gets)
  puts JSON.generate(eval(line))
end
