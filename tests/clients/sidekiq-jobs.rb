# Sidekiq's side of sidekiq.test.js: the jobs, for those who ask for them and those who do them.
#
# Both use database 9, where nobody else's queues are.

require 'sidekiq'

$stdout.sync = true
Redis.silence_deprecations = true
host = ENV.fetch('TORIL_HOST', '127.0.0.1')
port = ENV.fetch('TORIL_PORT', '6379')
Sidekiq.logger.level = Logger::FATAL
Sidekiq.configure_client { |config| config.redis = { url: "redis://#{host}:#{port}/9" } }
Sidekiq.configure_server do |config|
  config.redis = { url: "redis://#{host}:#{port}/9" }
  # Seconds, a half more or less, between two looks for what is due. The first one comes after a
  # random time of up to 5 s: this seed begins with small numbers.
  config.options[:poll_interval_average] = 0.1
  srand(273)
end

# What a job did, in order, where the test can read it. Answers how many such notes there are.
def note(text)
  Sidekiq.redis { |redis| redis.rpush(ENV.fetch('SIDEKIQ_NOTES'), text) }
end

class WriteDown
  include Sidekiq::Job

  def perform(text)
    note(text)
  end
end

class Shaky
  include Sidekiq::Job
  sidekiq_options retry: 3

  def perform
    raise ArgumentError, 'the first attempt broke' if note('attempt') == 1
  end
end

class Hopeless
  include Sidekiq::Job
  sidekiq_options retry: 0

  def perform
    raise ArgumentError, 'as asked'
  end
end

# Never ends where it runs first.
class Survive
  include Sidekiq::Job

  def perform
    sleep 60 if note('run') == 1
  end
end
